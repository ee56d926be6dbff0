//! Blanking: outputs that show nothing, and keep their CRTC and their mode (DPMS).
//!
//! To power a monitor up takes the driver from 50 ms to 2 s: the link is trained, an MST hub is
//! asked. Atomic commits do not wait for that (`NONBLOCK`).

use std::io;

use drm::control::{connector, AtomicCommitFlags};
use tracing::debug;

use crate::commit::{is_busy, AtomicRequest};
use crate::device::Device;
use crate::drm_fd::DrmFd;
use crate::legacy;
use crate::objects::Objects;

impl Device {
    /// Tests [`Device::set_active`].
    ///
    /// # Errors
    ///
    /// Returns the kernel's error.
    pub fn test_active(&self, outputs: &[&str], active: bool) -> io::Result<()> {
        let enabled = self.enabled(outputs)?;
        match self.is_atomic {
            true => set_active(&self.fd, &self.objects, &enabled, active, AtomicCommitFlags::TEST_ONLY),
            false => legacy::test_active(&self.objects, enabled.iter().map(|(_, connector)| *connector)),
        }
    }

    /// Blanks or unblanks enabled outputs, all of them or none: by `ACTIVE`, or by `DPMS` on
    /// drivers that are not atomic.
    ///
    /// Returns whether the kernel still powers the outputs up: it sends a page flip event of each
    /// CRTC at the end, and refuses frames until then (EBUSY).
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; the outputs stay as they were. If another commit is pending, it
    /// is one for which [`is_busy`] is true: this does not wait for that commit.
    pub fn set_active(&mut self, outputs: &[&str], active: bool) -> io::Result<bool> {
        if !self.is_atomic {
            return self.set_active_blocking(outputs, active).map(|()| false);
        }
        let enabled = self.enabled(outputs)?;
        // A CRTC that is powered down has no vblanks to report.
        let event = if active { AtomicCommitFlags::PAGE_FLIP_EVENT } else { AtomicCommitFlags::empty() };
        let flags = AtomicCommitFlags::NONBLOCK | event;
        match set_active(&self.fd, &self.objects, &enabled, active, flags) {
            Ok(()) => {
                self.note_active(outputs, active);
                Ok(active)
            }
            Err(error) if is_busy(&error) => Err(error),
            Err(error) => {
                debug!(?outputs, active, %error, "nonblocking commit of ACTIVE refused; trying a blocking one");
                self.set_active_blocking(outputs, active).map(|()| false)
            }
        }
    }

    /// As [`Device::set_active`], and waits for commits that are pending, and for the hardware.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; the outputs stay as they were.
    pub fn set_active_blocking(&mut self, outputs: &[&str], active: bool) -> io::Result<()> {
        let enabled = self.enabled(outputs)?;
        if self.is_atomic {
            set_active(&self.fd, &self.objects, &enabled, active, AtomicCommitFlags::empty())?;
        } else {
            let connectors: Vec<_> = enabled.iter().map(|(_, connector)| *connector).collect();
            legacy::set_active(&self.fd, &self.objects, &connectors, active)?;
        }
        self.note_active(outputs, active);
        Ok(())
    }

    fn note_active(&mut self, outputs: &[&str], active: bool) {
        for state in self.crtc_states.values_mut().filter(|state| outputs.contains(&state.output.as_str())) {
            state.setup.active = active;
        }
        for output in outputs {
            self.set_pending_active(output, active);
        }
    }

    /// Returns the CRTC and the connector of each output.
    fn enabled(&self, outputs: &[&str]) -> io::Result<Vec<(usize, connector::Handle)>> {
        let enabled = |output: &&str| {
            let mut states = self.crtc_states.values();
            let state = states.find(|state| state.output == **output).ok_or(io::ErrorKind::NotFound)?;
            Ok((state.setup.crtc, state.setup.connector))
        };
        outputs.iter().map(enabled).collect()
    }

    /// Sets whether an output is active after its next modeset.
    pub fn set_pending_active(&mut self, output: &str, active: bool) {
        match active {
            true => self.blanked.remove(output),
            false => self.blanked.insert(output.to_owned()),
        };
    }

    pub(crate) fn is_blanked(&self, output: &str) -> bool {
        self.blanked.contains(output)
    }
}

/// Sets or tests `ACTIVE` of CRTCs: a CRTC that is not active keeps its mode (drm-kms.rst). The
/// link of a monitor may have failed meanwhile, so `link-status` of the connectors is written too.
///
/// `outputs` are indices of CRTCs with the connectors that they drive.
///
/// # Errors
///
/// Returns the kernel's error, or that the driver is not atomic.
fn set_active(
    fd: &DrmFd,
    objects: &Objects,
    outputs: &[(usize, connector::Handle)],
    active: bool,
    flags: AtomicCommitFlags,
) -> io::Result<()> {
    let mut request = AtomicRequest::new();
    for (crtc, connector) in outputs {
        let crtc = objects.crtcs.get(*crtc).ok_or(io::ErrorKind::NotFound)?;
        let ids = crtc.ids.ok_or_else(|| io::Error::other("the driver has no atomic modesetting"))?;
        request.set(crtc.handle, ids.active, active.into());
        if let Some(known) = objects.connectors.iter().find(|known| known.handle == *connector) {
            known.props.set_link_good(*connector, &mut request);
        }
    }
    fd.atomic_commit(&mut request, AtomicCommitFlags::ALLOW_MODESET | flags)
}
