//! drm-lease: clients lease the connectors of headsets and other monitors that show no desktop.
//!
//! Source: drm-lease-v1.xml. One global per GPU, created when it first has such a monitor.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use drm::control::LeaseId;
use geom_kms::lease::open_without_master;
use smithay::reexports::wayland_protocols::wp::drm_lease::v1::server::wp_drm_lease_connector_v1::{
    self, WpDrmLeaseConnectorV1,
};
use smithay::reexports::wayland_protocols::wp::drm_lease::v1::server::wp_drm_lease_device_v1::{
    self, WpDrmLeaseDeviceV1,
};
use smithay::reexports::wayland_protocols::wp::drm_lease::v1::server::wp_drm_lease_request_v1::{
    self, WpDrmLeaseRequestV1,
};
use smithay::reexports::wayland_protocols::wp::drm_lease::v1::server::wp_drm_lease_v1::{self, WpDrmLeaseV1};
use smithay::reexports::wayland_server::backend::{ClientId, GlobalId};
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource,
};
use tracing::{info, warn};

use super::security_context::is_trusted;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// The global of a GPU. Sandboxed clients do not see it.
pub struct Global {
    gpu: u64,
    path: PathBuf,
}

/// A client's device object, and the connectors that were sent to it, by name.
struct Device {
    gpu: u64,
    resource: WpDrmLeaseDeviceV1,
    connectors: BTreeMap<String, WpDrmLeaseConnectorV1>,
}

struct Lease {
    gpu: u64,
    lessee: LeaseId,
    resource: WpDrmLeaseV1,
}

#[derive(Default)]
pub struct Leases {
    globals: BTreeMap<u64, GlobalId>,
    devices: Vec<Device>,
    leases: Vec<Lease>,
}

/// A connector that can be leased: the GPU, and its name.
pub struct Offered(u64, String);

/// The connectors that a lease request has so far.
pub struct Wanted {
    gpu: u64,
    names: Mutex<Vec<String>>,
}

impl State {
    /// Returns the connectors of a GPU that can be leased: name, description and id.
    fn leasable(&self, gpu: u64) -> Vec<(String, String, u32)> {
        let Some(gpu) = self.backend.gpu(gpu) else { return Vec::new() };
        let connectors = gpu.device.leasable_connectors().map(|connector| {
            let name = connector.state.name.clone();
            let monitor = connector.state.monitor.as_ref();
            let text = monitor.map_or_else(|| name.clone(), |monitor| format!("{monitor} ({name})"));
            (name, text, connector.handle.into())
        });
        connectors.collect()
    }

    /// Sends clients which connectors can be leased now, and ends leases that clients have closed.
    pub fn check_leases(&mut self) {
        let gpus: Vec<(u64, PathBuf)> =
            self.backend.gpus().map(|gpu| (gpu.device.id(), gpu.device.path().to_owned())).collect();
        for (id, path) in &gpus {
            let ended = self.backend.gpu(*id).map(|gpu| gpu.device.ended_leases()).unwrap_or_default();
            ended.into_iter().for_each(|lessee| self.end_lease(*id, lessee));
            if !self.leasable(*id).is_empty() && !self.protocols.leases.globals.contains_key(id) {
                let global = Global { gpu: *id, path: path.clone() };
                let global = self.display_handle.create_global::<Self, WpDrmLeaseDeviceV1, _>(1, global);
                self.protocols.leases.globals.insert(*id, global);
            }
        }
        let gone = |id: &u64| gpus.iter().all(|(gpu, _)| gpu != id);
        let stale: Vec<u64> = self.protocols.leases.globals.keys().copied().filter(gone).collect();
        for id in stale {
            if let Some(global) = self.protocols.leases.globals.remove(&id) {
                self.disable_global(global);
            }
            self.protocols.leases.leases.retain(|lease| {
                if lease.gpu == id {
                    lease.resource.finished();
                }
                lease.gpu != id
            });
        }
        let mut devices = std::mem::take(&mut self.protocols.leases.devices);
        for device in &mut devices {
            if self.send_connectors(device) {
                device.resource.done();
            }
        }
        self.protocols.leases.devices = devices;
    }

    /// Sends a client which connectors can be leased. Returns whether that has changed.
    fn send_connectors(&self, device: &mut Device) -> bool {
        let leasable = self.leasable(device.gpu);
        let before = device.connectors.len();
        device.connectors.retain(|name, connector| {
            let is_leasable = leasable.iter().any(|(known, ..)| known == name);
            if !is_leasable {
                connector.withdrawn();
            }
            is_leasable
        });
        let mut changed = before != device.connectors.len();
        let Some(client) = device.resource.client() else { return false };
        for (name, text, id) in leasable {
            if device.connectors.contains_key(&name) {
                continue;
            }
            let made = client.create_resource::<WpDrmLeaseConnectorV1, _, Self>(
                &self.display_handle,
                device.resource.version(),
                Offered(device.gpu, name.clone()),
            );
            let Ok(connector) = made else { continue };
            device.resource.connector(&connector);
            connector.name(name.clone());
            connector.description(text);
            connector.connector_id(id);
            connector.done();
            device.connectors.insert(name, connector);
            changed = true;
        }
        changed
    }

    fn end_lease(&mut self, gpu: u64, lessee: LeaseId) {
        info!(lessee = lessee.get(), "lease ended");
        if let Some(gpu) = self.backend.gpu_mut(gpu) {
            gpu.device.end_lease(lessee);
        }
        self.protocols.leases.leases.retain(|lease| {
            let ended = lease.gpu == gpu && lease.lessee == lessee;
            if ended && lease.resource.is_alive() {
                lease.resource.finished();
            }
            !ended
        });
        // Disables its CRTC, for which a monitor may be waiting.
        let now = self.now();
        self.timers.at(now, Deadline::Reconfigure("lease ended"));
    }

    fn lease(&mut self, resource: WpDrmLeaseV1, wanted: &Wanted) {
        let names = wanted.names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let leased = match self.backend.gpu_mut(wanted.gpu) {
            Some(gpu) => gpu.device.lease(&names),
            None => Err(std::io::ErrorKind::NotFound.into()),
        };
        match leased {
            Ok((lessee, fd)) => {
                info!(displays = names.join(" "), lessee = lessee.get(), "connectors leased");
                resource.lease_fd(fd.as_fd());
                self.protocols.leases.leases.push(Lease { gpu: wanted.gpu, lessee, resource });
                self.check_leases();
            }
            Err(error) => {
                warn!(displays = names.join(" "), %error, "connectors cannot be leased");
                resource.finished();
            }
        }
    }
}

impl GlobalDispatch<WpDrmLeaseDeviceV1, Global> for State {
    fn bind(
        state: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        device: New<WpDrmLeaseDeviceV1>,
        global: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        let resource = init.init(device, global.gpu);
        match open_without_master(&global.path) {
            Ok(fd) => resource.drm_fd(fd.as_fd()),
            // The protocol requires a descriptor before connectors: without one there are none.
            Err(error) => {
                let gpu = global.path.display();
                warn!(%gpu, %error, "the GPU cannot be opened without DRM master: no connector can be leased. Install udev-rules");
                resource.done();
                return;
            }
        }
        let mut device = Device { gpu: global.gpu, resource, connectors: BTreeMap::new() };
        state.send_connectors(&mut device);
        device.resource.done();
        state.protocols.leases.devices.push(device);
    }

    fn can_view(client: Client, _: &Global) -> bool {
        is_trusted(&client)
    }
}

impl Dispatch<WpDrmLeaseDeviceV1, u64> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        device: &WpDrmLeaseDeviceV1,
        request: wp_drm_lease_device_v1::Request,
        gpu: &u64,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        match request {
            wp_drm_lease_device_v1::Request::CreateLeaseRequest { id } => {
                init.init(id, Wanted { gpu: *gpu, names: Mutex::default() });
            }
            wp_drm_lease_device_v1::Request::Release => {
                state.protocols.leases.devices.retain(|known| known.resource != *device);
                device.released();
            }
            _ => {}
        }
    }

    fn destroyed(state: &mut Self, _: ClientId, device: &WpDrmLeaseDeviceV1, _: &u64) {
        state.protocols.leases.devices.retain(|known| known.resource != *device);
    }
}

impl Dispatch<WpDrmLeaseConnectorV1, Offered> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &WpDrmLeaseConnectorV1,
        _: wp_drm_lease_connector_v1::Request,
        _: &Offered,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        // destroy is the only request, and the library handles it.
    }
}

impl Dispatch<WpDrmLeaseRequestV1, Wanted> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        request: &WpDrmLeaseRequestV1,
        asked: wp_drm_lease_request_v1::Request,
        wanted: &Wanted,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        match asked {
            wp_drm_lease_request_v1::Request::RequestConnector { connector } => {
                let Some(Offered(gpu, name)) = connector.data::<Offered>() else { return };
                let mut names = wanted.names.lock().unwrap_or_else(PoisonError::into_inner);
                if *gpu != wanted.gpu {
                    let error = wp_drm_lease_request_v1::Error::WrongDevice;
                    request.post_error(error, format!("{name} belongs to another device"));
                } else if names.contains(name) {
                    let error = wp_drm_lease_request_v1::Error::DuplicateConnector;
                    request.post_error(error, format!("{name} is requested twice"));
                } else {
                    names.push(name.clone());
                }
            }
            wp_drm_lease_request_v1::Request::Submit { id } => {
                let lease = init.init(id, ());
                if wanted.names.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                    request.post_error(
                        wp_drm_lease_request_v1::Error::EmptyLease,
                        "the request has no connector",
                    );
                    return;
                }
                state.lease(lease, wanted);
            }
            _ => {}
        }
    }
}

impl Dispatch<WpDrmLeaseV1, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &WpDrmLeaseV1,
        _: wp_drm_lease_v1::Request,
        (): &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        // destroy is the only request; `destroyed` ends the lease.
    }

    fn destroyed(state: &mut Self, _: ClientId, resource: &WpDrmLeaseV1, (): &()) {
        let lease = state.protocols.leases.leases.iter().find(|lease| lease.resource == *resource);
        if let Some((gpu, lessee)) = lease.map(|lease| (lease.gpu, lease.lessee)) {
            state.end_lease(gpu, lessee);
        }
    }
}
