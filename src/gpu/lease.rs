//! Connectors that a program drives by itself, with a CRTC and planes of their own.
//!
//! Source: the kernel's drm_lease.c.

use std::io;
use std::os::fd::OwnedFd;

use drm::control::{connector, Device as ControlDevice, LeaseId, RawResourceHandle};

use super::device::Gpu;

/// What was given away.
#[derive(Debug, Clone)]
pub struct Leased {
    pub lessee: LeaseId,
    pub connectors: Vec<connector::Handle>,
    /// Indices of CRTCs.
    pub crtcs: Vec<usize>,
}

impl Gpu {
    pub fn is_leased(&self, crtc: usize) -> bool {
        self.leases.iter().any(|lease| lease.crtcs.contains(&crtc))
    }

    /// Gives connectors away, each with a CRTC that shows nothing of ours. The descriptor is the program's card from then on.
    ///
    /// # Errors
    /// Where a connector is gone or given away, no CRTC is left, or the kernel refuses.
    pub fn lease(&mut self, names: &[String]) -> io::Result<(LeaseId, OwnedFd)> {
        let mut lease: (Vec<connector::Handle>, Vec<usize>) = Default::default();
        let mut objects: Vec<RawResourceHandle> = Vec::new();
        for name in names {
            let connector = self.objects.connector(name).filter(|connector| {
                connector.state.connected
                    && connector.state.non_desktop
                    && !self.leases.iter().any(|lease| lease.connectors.contains(&connector.handle))
            });
            let connector = connector.ok_or_else(|| io::Error::other(format!("{name} can't be leased")))?;
            let free = |crtc: &usize| {
                connector.crtcs & (1 << crtc) != 0
                    && self.objects.crtcs[*crtc].primary.is_some()
                    && !self.crtc_states.contains_key(crtc)
                    && !self.is_leased(*crtc)
                    && !lease.1.contains(crtc)
            };
            let crtc = (0..self.objects.crtcs.len()).find(free);
            let crtc = crtc.ok_or_else(|| io::Error::other(format!("no CRTC is free for {name}")))?;
            lease.0.push(connector.handle);
            lease.1.push(crtc);
            objects.push(connector.handle.into());
            let entry = &self.objects.crtcs[crtc];
            objects.push(entry.handle.into());
            let planes = [entry.primary, entry.cursor].into_iter().flatten();
            let planes = planes.filter_map(|plane| self.objects.planes.get(plane));
            objects.extend(planes.map(|plane| RawResourceHandle::from(plane.handle)));
        }
        let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        let (lessee, fd) = self.card.create_lease(&objects, flags.bits())?;
        let (connectors, crtcs) = lease;
        self.objects.leased.extend(&connectors);
        self.leases.push(Leased { lessee, connectors, crtcs });
        Ok((lessee, fd))
    }

    /// Takes a lease back. Its CRTCs are switched off with the next mode setting.
    pub fn end_lease(&mut self, lessee: LeaseId) {
        let Some(place) = self.leases.iter().position(|lease| lease.lessee == lessee) else { return };
        // Fails where the program has closed it already.
        let _ = self.card.revoke_lease(lessee);
        let lease = self.leases.swap_remove(place);
        self.objects.leased.retain(|connector| !lease.connectors.contains(connector));
        // Whatever it left there is not ours.
        self.state_is_ours = false;
    }

    /// Leases whose programs have closed them, or are gone.
    pub fn ended_leases(&self) -> Vec<LeaseId> {
        if self.leases.is_empty() {
            return Vec::new();
        }
        let Ok(live) = self.card.list_lessees() else { return Vec::new() };
        self.leases.iter().map(|lease| lease.lessee).filter(|lessee| !live.contains(lessee)).collect()
    }
}
