//! Drivers without atomic modesetting (radeon, nouveau, old Intel): each thing is set by a call of
//! its own, and nothing can be tested.
//!
//! Source: the kernel's drm_crtc.c, drm_crtc_helper.c, drm_connector.c, drm_color_mgmt.c and
//! drm_plane.c.

use std::io;

use drm::control::{connector, crtc, property};
use tracing::warn;

use crate::commit::{CrtcSetup, CursorPlane, Frame};
use crate::device::Device;
use crate::drm_fd::DrmFd;
use crate::objects::{Crtc, Objects};
use crate::properties::Properties;

/// The `DPMS` property of a connector and the numbers of two of its values. The others are of CRTs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dpms {
    id: property::Handle,
    on: u64,
    off: u64,
}

impl Dpms {
    pub fn read(properties: &Properties) -> Option<Self> {
        let choices = properties.choices("DPMS");
        let number = |name: &str| choices.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
        Some(Self { id: properties.id("DPMS")?, on: number("On")?, off: number("Off")? })
    }
}

fn dpms(objects: &Objects, handle: connector::Handle) -> io::Result<Dpms> {
    let connector = objects.connectors.iter().find(|connector| connector.handle == handle);
    let dpms = connector.ok_or(io::ErrorKind::NotFound)?.dpms;
    dpms.ok_or_else(|| io::Error::other("the driver can neither set ACTIVE of CRTCs nor DPMS of connectors"))
}

fn set_dpms(fd: &DrmFd, objects: &Objects, handle: connector::Handle, active: bool) -> io::Result<()> {
    let Dpms { id, on, off } = dpms(objects, handle)?;
    fd.set_property(handle.into(), id, if active { on } else { off })
}

/// Checks whether [`set_active`] is possible.
///
/// # Errors
///
/// If a connector lacks the property.
pub(crate) fn test_active(
    objects: &Objects,
    mut connectors: impl Iterator<Item = connector::Handle>,
) -> io::Result<()> {
    connectors.try_for_each(|handle| dpms(objects, handle).map(drop))
}

/// Blanks or unblanks connectors, all of them or none.
///
/// # Errors
///
/// Returns the kernel's error.
pub(crate) fn set_active(
    fd: &DrmFd,
    objects: &Objects,
    connectors: &[connector::Handle],
    active: bool,
) -> io::Result<()> {
    for (done, handle) in connectors.iter().enumerate() {
        if let Err(error) = set_dpms(fd, objects, *handle, active) {
            for handle in connectors.iter().take(done) {
                if let Err(error) = set_dpms(fd, objects, *handle, !active) {
                    warn!(%error, "cannot undo blanking or unblanking of a display");
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Enables `setups` and disables everything else, except the CRTCs in `untouched`.
///
/// A connector that goes to another CRTC is taken from the first one before: drivers may have no
/// clock or link for both.
///
/// # Errors
///
/// Returns the kernel's error. CRTCs that were changed are set to `previous` then, and disabled if
/// they have no setup there.
pub(crate) fn modeset(
    fd: &DrmFd,
    objects: &Objects,
    setups: &[CrtcSetup],
    untouched: &[usize],
    previous: &[CrtcSetup],
) -> io::Result<()> {
    let touched = objects.crtcs.iter().enumerate().filter(|(index, _)| !untouched.contains(index));
    let touched: Vec<(usize, &Crtc)> = touched.collect();
    let mut changed = Vec::new();
    let result = set_modes(fd, objects, setups, &touched, &mut changed);
    if result.is_err() {
        restore(fd, objects, &changed, previous);
    }
    result
}

/// Returns the setup of a CRTC.
fn of(setups: &[CrtcSetup], index: usize) -> Option<&CrtcSetup> {
    setups.iter().find(|setup| setup.crtc == index)
}

/// Sets modes, and notes which CRTCs it has changed.
fn set_modes(
    fd: &DrmFd,
    objects: &Objects,
    setups: &[CrtcSetup],
    touched: &[(usize, &Crtc)],
    changed: &mut Vec<usize>,
) -> io::Result<()> {
    let driven = driven_connectors(fd, objects);
    for (index, crtc) in touched {
        let mut connectors = driven.iter().filter(|(_, by)| *by == crtc.handle).map(|(handle, _)| *handle);
        let stays =
            of(setups, *index).is_some_and(|setup| connectors.all(|drives| drives == setup.connector));
        if !stays {
            changed.push(*index);
            fd.set_crtc(crtc.handle, None)?;
        }
        // Another program's. Drivers without a hardware cursor refuse the call and have none to
        // hide.
        let _ = fd.hide_cursor(crtc.handle);
    }
    for (index, crtc) in touched {
        if let Some(setup) = of(setups, *index) {
            changed.push(*index);
            enable(fd, objects, crtc, setup)?;
        }
    }
    Ok(())
}

/// Returns which connectors are driven now, and by which CRTCs.
fn driven_connectors(fd: &DrmFd, objects: &Objects) -> Vec<(connector::Handle, crtc::Handle)> {
    let crtc_of = |handle| fd.encoder(fd.connector(handle, false).ok()?.current_encoder?).ok()?.crtc;
    let handles = objects.connectors.iter().map(|connector| connector.handle);
    handles.filter_map(|handle| Some((handle, crtc_of(handle)?))).collect()
}

fn enable(fd: &DrmFd, objects: &Objects, crtc: &Crtc, setup: &CrtcSetup) -> io::Result<()> {
    fd.set_crtc(crtc.handle, Some((setup.framebuffer, setup.connector, &setup.mode)))?;
    // SETCRTC unblanks.
    match setup.active {
        true => Ok(()),
        false => set_dpms(fd, objects, setup.connector, false),
    }
}

/// Sets CRTCs back after a failure.
fn restore(fd: &DrmFd, objects: &Objects, changed: &[usize], previous: &[CrtcSetup]) {
    let crtcs = objects.crtcs.iter().enumerate().filter(|(index, _)| changed.contains(index));
    let off = crtcs.clone().map(|(_, crtc)| fd.set_crtc(crtc.handle, None));
    let mut results: Vec<io::Result<()>> = off.collect();
    for (index, crtc) in crtcs {
        results.extend(of(previous, index).map(|setup| enable(fd, objects, crtc, setup)));
    }
    if let Some(error) = results.into_iter().find_map(Result::err) {
        warn!(%error, "cannot set a display back after a mode that failed; set a mode again");
    }
}

/// Places or hides the cursor of a CRTC. `shown` is what is known of it.
fn set_cursor(
    fd: &DrmFd,
    crtc: crtc::Handle,
    cursor: CursorPlane,
    shown: Option<CursorPlane>,
) -> io::Result<()> {
    let image = |cursor| match cursor {
        CursorPlane::Shown { buffer, hotspot, .. } => Some((buffer, hotspot)),
        CursorPlane::Hidden => None,
    };
    match cursor {
        CursorPlane::Hidden => {
            // As in `set_modes`.
            let _ = fd.hide_cursor(crtc);
            Ok(())
        }
        CursorPlane::Shown { buffer, size, position, hotspot, .. } => {
            if shown.and_then(image) != image(cursor) {
                fd.set_cursor(crtc, buffer, size, hotspot)?;
            }
            // After the image: radeon moves the cursor with its hotspot.
            fd.move_cursor(crtc, position)
        }
    }
}

/// Returns a LUT that changes nothing.
fn linear(entries: usize) -> Vec<[u16; 3]> {
    let last = entries.saturating_sub(1).max(1);
    (0..entries).map(|entry| [(entry * usize::from(u16::MAX) / last) as u16; 3]).collect()
}

impl Device {
    /// Returns the setups of the enabled outputs.
    pub(crate) fn setups(&self) -> Vec<CrtcSetup> {
        self.crtc_states.values().map(|state| state.setup.clone()).collect()
    }

    /// Shows a frame. The cursor changes at once, and a page flip event follows for a new
    /// framebuffer only: returns whether there was one.
    pub(crate) fn submit_legacy(&mut self, crtc: usize, frame: &Frame) -> io::Result<bool> {
        let handle = self.objects.crtcs.get(crtc).ok_or(io::ErrorKind::NotFound)?.handle;
        if let Some(cursor) = frame.cursor {
            // First: if it is refused, nothing has changed.
            set_cursor(&self.fd, handle, cursor, self.legacy_cursors.get(&crtc).copied())?;
            self.legacy_cursors.insert(crtc, cursor);
        }
        let Some((framebuffer, _)) = &frame.primary else { return Ok(false) };
        self.fd.page_flip(handle, framebuffer.handle())?;
        Ok(true)
    }

    /// Sets the gamma LUT of a CRTC that has it by a call only. Does nothing on others.
    pub(crate) fn set_legacy_gamma(&self, crtc: usize, lut: Option<&[[u16; 3]]>) -> io::Result<()> {
        let Some(entry) = self.objects.crtcs.get(crtc).filter(|crtc| !crtc.has_gamma_lut()) else {
            return Ok(());
        };
        match (entry.gamma_size(), lut) {
            (0, _) => Ok(()),
            (_, Some(lut)) => self.fd.set_gamma(entry.handle, lut),
            (size, None) => self.fd.set_gamma(entry.handle, &linear(size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_lut_has_the_whole_range() {
        assert_eq!(linear(3), [[0; 3], [32_767; 3], [65_535; 3]]);
        assert_eq!(linear(1), [[0; 3]]);
    }
}
