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
use crate::backend::leases::{Leasable, LeaseRequest, LeaseRequestError, Leases, Offers};
use crate::compositor::deadline::Deadline;
use crate::compositor::State;

/// The global of a GPU. Sandboxed clients do not see it.
pub struct Global {
    gpu: u64,
    path: PathBuf,
}

/// A client's device object, and the connectors that were sent to it.
struct Device {
    gpu: u64,
    resource: WpDrmLeaseDeviceV1,
    offers: Offers<WpDrmLeaseConnectorV1>,
}

/// The objects of all clients.
#[derive(Default)]
pub struct DrmLease {
    globals: BTreeMap<u64, GlobalId>,
    devices: Vec<Device>,
    leases: Leases<WpDrmLeaseV1>,
}

/// A connector that can be leased: the GPU, and its name.
pub struct Offered(u64, String);

/// The user data of a lease request.
pub type Wanted = Mutex<LeaseRequest>;

impl State {
    /// Sends clients which connectors can be leased now, and ends leases that clients have closed.
    pub fn check_leases(&mut self) {
        let gpus: Vec<(u64, PathBuf)> =
            self.backend.gpus().map(|gpu| (gpu.device.id(), gpu.device.path().to_owned())).collect();
        for (id, path) in &gpus {
            let ended = self.backend.gpu(*id).map(|gpu| gpu.device.ended_leases()).unwrap_or_default();
            ended.into_iter().for_each(|lessee| self.end_lease(*id, lessee));
            if !self.backend.leasable(*id).is_empty() && !self.protocols.drm_lease.globals.contains_key(id) {
                let global = Global { gpu: *id, path: path.clone() };
                let global = self.display_handle.create_global::<Self, WpDrmLeaseDeviceV1, _>(1, global);
                self.protocols.drm_lease.globals.insert(*id, global);
            }
        }
        let gone = |id: &u64| gpus.iter().all(|(gpu, _)| gpu != id);
        let stale: Vec<u64> = self.protocols.drm_lease.globals.keys().copied().filter(gone).collect();
        for id in stale {
            if let Some(global) = self.protocols.drm_lease.globals.remove(&id) {
                self.disable_global(global);
            }
            self.protocols.drm_lease.leases.remove_gpu(id).iter().for_each(WpDrmLeaseV1::finished);
        }
        let mut devices = std::mem::take(&mut self.protocols.drm_lease.devices);
        for device in &mut devices {
            if self.send_connectors(device) {
                device.resource.done();
            }
        }
        self.protocols.drm_lease.devices = devices;
    }

    /// Sends a client which connectors can be leased. Returns whether that has changed.
    fn send_connectors(&self, device: &mut Device) -> bool {
        let leasable = self.backend.leasable(device.gpu);
        let withdrawn = device.offers.remove_unleasable(&leasable);
        withdrawn.iter().for_each(WpDrmLeaseConnectorV1::withdrawn);
        let Some(client) = device.resource.client() else { return false };
        let offer = |leasable: &Leasable| {
            let offered = Offered(device.gpu, leasable.name.clone());
            let version = device.resource.version();
            let made = client.create_resource::<_, _, Self>(&self.display_handle, version, offered);
            let connector: WpDrmLeaseConnectorV1 = made.ok()?;
            device.resource.connector(&connector);
            connector.name(leasable.name.clone());
            connector.description(leasable.description.clone());
            connector.connector_id(leasable.id);
            connector.done();
            Some(connector)
        };
        device.offers.add(&leasable, offer) || !withdrawn.is_empty()
    }

    fn end_lease(&mut self, gpu: u64, lessee: LeaseId) {
        info!(lessee = lessee.get(), "lease ended");
        if let Some(gpu) = self.backend.gpu_mut(gpu) {
            gpu.device.end_lease(lessee);
        }
        let ended = self.protocols.drm_lease.leases.remove(gpu, lessee);
        ended.iter().filter(|lease| lease.is_alive()).for_each(WpDrmLeaseV1::finished);
        // Disables its CRTC, for which a monitor may be waiting.
        let now = self.now();
        self.timers.at(now, Deadline::Reconfigure("lease ended"));
    }

    fn lease(&mut self, resource: WpDrmLeaseV1, id: u64, names: &[String]) {
        let leased = match self.backend.gpu_mut(id) {
            Some(gpu) => gpu.device.lease(names),
            None => Err(std::io::ErrorKind::NotFound.into()),
        };
        match leased {
            Ok((lessee, fd)) => {
                info!(displays = names.join(" "), lessee = lessee.get(), "connectors leased");
                resource.lease_fd(fd.as_fd());
                self.protocols.drm_lease.leases.add(id, lessee, resource);
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
        let mut device = Device { gpu: global.gpu, resource, offers: Offers::default() };
        state.send_connectors(&mut device);
        device.resource.done();
        state.protocols.drm_lease.devices.push(device);
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
                init.init(id, Mutex::new(LeaseRequest::new(*gpu)));
            }
            wp_drm_lease_device_v1::Request::Release => {
                state.protocols.drm_lease.devices.retain(|known| known.resource != *device);
                device.released();
            }
            _ => {}
        }
    }

    fn destroyed(state: &mut Self, _: ClientId, device: &WpDrmLeaseDeviceV1, _: &u64) {
        state.protocols.drm_lease.devices.retain(|known| known.resource != *device);
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
        let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            wp_drm_lease_request_v1::Request::RequestConnector { connector } => {
                let Some(Offered(gpu, name)) = connector.data::<Offered>() else { return };
                let (error, message) = match wanted.add(*gpu, name) {
                    Ok(()) => return,
                    Err(LeaseRequestError::WrongDevice) => {
                        (wp_drm_lease_request_v1::Error::WrongDevice, "belongs to another device")
                    }
                    Err(LeaseRequestError::Duplicate) => {
                        (wp_drm_lease_request_v1::Error::DuplicateConnector, "is requested twice")
                    }
                };
                request.post_error(error, format!("{name} {message}"));
            }
            wp_drm_lease_request_v1::Request::Submit { id } => {
                let lease = init.init(id, ());
                match wanted.connectors() {
                    Some((gpu, names)) => state.lease(lease, gpu, &names),
                    None => request.post_error(
                        wp_drm_lease_request_v1::Error::EmptyLease,
                        "the request has no connector",
                    ),
                }
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
        if let Some((gpu, lessee)) = state.protocols.drm_lease.leases.find(resource) {
            state.end_lease(gpu, lessee);
        }
    }
}
