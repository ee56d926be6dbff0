//! Blanking: outputs that show nothing, and keep their CRTC and their mode (DPMS).

use std::io;

use drm::control::{connector, AtomicCommitFlags};

use crate::commit::AtomicRequest;
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
            true => set_active(&self.fd, &self.objects, &enabled, active, true),
            false => legacy::test_active(&self.objects, enabled.iter().map(|(_, connector)| *connector)),
        }
    }

    /// Blanks or unblanks enabled outputs, all of them or none: by `ACTIVE`, or by `DPMS` on
    /// drivers that are not atomic.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error; the outputs stay as they were.
    pub fn set_active(&mut self, outputs: &[&str], active: bool) -> io::Result<()> {
        let enabled = self.enabled(outputs)?;
        if self.is_atomic {
            set_active(&self.fd, &self.objects, &enabled, active, false)?;
        } else {
            let connectors: Vec<_> = enabled.iter().map(|(_, connector)| *connector).collect();
            legacy::set_active(&self.fd, &self.objects, &connectors, active)?;
        }
        for state in self.crtc_states.values_mut().filter(|state| outputs.contains(&state.output.as_str())) {
            state.setup.active = active;
        }
        for output in outputs {
            self.set_pending_active(output, active);
        }
        Ok(())
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
    test: bool,
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
    let test = if test { AtomicCommitFlags::TEST_ONLY } else { AtomicCommitFlags::empty() };
    fd.atomic_commit(&mut request, AtomicCommitFlags::ALLOW_MODESET | test)
}
