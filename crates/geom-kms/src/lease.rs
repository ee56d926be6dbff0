//! Leases: connectors that another program drives, each with a CRTC and its planes.
//!
//! Source: the kernel's drm_lease.c.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use drm::control::{connector, LeaseId, RawResourceHandle};
use rustix::fs::{Mode, OFlags};

use crate::device::Device;
use crate::drm_fd::DrmFd;
use crate::objects::Connector;

/// What one program has leased.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub lessee: LeaseId,
    pub connectors: Vec<connector::Handle>,
    /// Indices of CRTCs.
    pub crtcs: Vec<usize>,
}

/// Opens a device without DRM master: the descriptor can read its objects and set nothing.
///
/// # Errors
///
/// Returns the kernel's error: this user may not open the device, or not give up DRM master.
pub fn open_without_master(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let fd = DrmFd::new(rustix::fs::open(path, flags, Mode::empty())?);
    give_up_master(&fd)?;
    fd.into_fd().map_err(|_| io::ErrorKind::ResourceBusy.into())
}

/// Makes sure that a new descriptor is not DRM master. If the device has none, who opens it becomes
/// that (drm_master_open()).
///
/// # Errors
///
/// Returns the kernel's error if it stays DRM master: a client with it could set any mode, and
/// prevent this process from doing so.
pub(crate) fn give_up_master(fd: &DrmFd) -> io::Result<()> {
    // Fails if it is not DRM master, too.
    let released = fd.release_master();
    if fd.is_master() {
        return Err(released.err().unwrap_or_else(|| io::ErrorKind::PermissionDenied.into()));
    }
    Ok(())
}

impl Device {
    /// Returns whether a CRTC is leased.
    pub(crate) fn is_leased(&self, crtc: usize) -> bool {
        self.leases.iter().any(|lease| lease.crtcs.contains(&crtc))
    }

    /// Returns the connectors that can be leased: those of headsets and the like, if connected.
    pub fn leasable_connectors(&self) -> impl Iterator<Item = &Connector> {
        let is_free = |connector: &&Connector| {
            connector.state.connected
                && connector.state.non_desktop
                && !self.objects.leased.contains(&connector.handle)
        };
        self.objects.connectors.iter().filter(is_free)
    }

    /// Leases connectors, each with a CRTC that is not in use. The descriptor is the lessee's
    /// device.
    ///
    /// # Errors
    ///
    /// If a connector is gone or leased, no CRTC is left, or the kernel refuses.
    pub fn lease(&mut self, names: &[String]) -> io::Result<(LeaseId, OwnedFd)> {
        let (mut connectors, mut crtcs) = (Vec::new(), Vec::new());
        let mut objects: Vec<RawResourceHandle> = Vec::new();
        for name in names {
            let connector = self.leasable_connectors().find(|connector| connector.state.name == *name);
            let connector = connector.ok_or_else(|| io::Error::other(format!("{name} can't be leased")))?;
            let is_free = |crtc: &usize| {
                connector.can_use(*crtc)
                    && self.primary_plane(*crtc).is_some()
                    && !self.crtc_states.contains_key(crtc)
                    && !self.is_leased(*crtc)
                    && !crtcs.contains(crtc)
            };
            let crtc = (0..self.objects.crtcs.len()).find(is_free);
            let crtc = crtc.ok_or_else(|| io::Error::other(format!("no CRTC is free for {name}")))?;
            connectors.push(connector.handle);
            crtcs.push(crtc);
            objects.push(connector.handle.into());
            objects.extend(self.objects.crtcs.get(crtc).map(|crtc| RawResourceHandle::from(crtc.handle)));
            let planes = [self.objects.primary_plane(crtc), self.objects.cursor_plane(crtc)];
            objects.extend(planes.into_iter().flatten().map(|plane| RawResourceHandle::from(plane.handle)));
        }
        let (lessee, fd) = self.fd.create_lease(&objects)?;
        self.objects.leased.extend(&connectors);
        self.leases.push(Lease { lessee, connectors, crtcs });
        Ok((lessee, fd))
    }

    /// Ends a lease. The next commit disables its CRTCs.
    pub fn end_lease(&mut self, lessee: LeaseId) {
        let Some(index) = self.leases.iter().position(|lease| lease.lessee == lessee) else { return };
        // Fails if the program has closed it already.
        let _ = self.fd.revoke_lease(lessee);
        let lease = self.leases.swap_remove(index);
        self.objects.leased.retain(|connector| !lease.connectors.contains(connector));
        // The program may have left its objects in any state.
        self.invalidate_state();
    }

    /// Returns the leases whose programs have closed them.
    pub fn ended_leases(&self) -> Vec<LeaseId> {
        if self.leases.is_empty() {
            return Vec::new();
        }
        let Ok(open) = self.fd.lessees() else { return Vec::new() };
        self.leases.iter().map(|lease| lease.lessee).filter(|lessee| !open.contains(lessee)).collect()
    }
}
