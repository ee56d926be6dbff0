//! Modes of monitors of which the kernel has no list: forced connectors, and EDIDs from the
//! configuration.

use drm::control::{Mode as KmsMode, ModeTypeFlags};
use geom_display::modeline::Modeline;
use geom_edid::{timing_of_code, Edid, Timing};

use crate::modes::{from_modeline, same_timing};

/// 1024x768 at 60 Hz, as the kernel prefers it without an EDID (VESA DMT 1.13, id 10h).
const XGA: Modeline = Modeline {
    clock: 65_000,
    horizontal: [1024, 1048, 1184, 1344],
    vertical: [768, 771, 777, 806],
    hsync: false,
    vsync: false,
    interlaced: false,
    doublescan: false,
};

/// Video Identification Codes of 1920x1080, 1280x720 and 640x480 at 60 Hz.
const COMMON_CODES: [u8; 3] = [16, 4, 1];

/// Returns a progressive timing as the kernel takes it. Interlaced ones are left out: the kernel
/// counts their lines in another way.
fn mode(timing: &Timing) -> Option<KmsMode> {
    if timing.interlaced {
        return None;
    }
    let line = |active: u32, front: u32, sync: u32, blank: u32| {
        let ends = [active, active + front, active + front + sync, active + blank];
        let valid = front + sync <= blank;
        let ends = ends.map(|end| u16::try_from(end).ok());
        valid.then_some(())?;
        Some([ends[0]?, ends[1]?, ends[2]?, ends[3]?])
    };
    Some(from_modeline(&Modeline {
        clock: timing.clock_khz,
        horizontal: line(timing.width, timing.h_front, timing.h_sync, timing.h_blank)?,
        vertical: line(timing.height, timing.v_front, timing.v_sync, timing.v_blank)?,
        hsync: timing.h_positive,
        vsync: timing.v_positive,
        interlaced: false,
        doublescan: false,
    }))
}

fn preferred(mode: KmsMode) -> KmsMode {
    let mut info = drm_ffi::drm_mode_modeinfo::from(mode);
    info.type_ |= ModeTypeFlags::PREFERRED.bits();
    KmsMode::from(info)
}

/// Returns the modes of a monitor about which nothing is known; the first is the preferred one.
pub(crate) fn unknown_monitor_modes() -> Vec<KmsMode> {
    let common = COMMON_CODES.iter().filter_map(|code| mode(&timing_of_code(*code)?));
    std::iter::once(preferred(from_modeline(&XGA))).chain(common).collect()
}

/// Returns the modes of an EDID: its detailed timings and its Video Identification Codes, the
/// preferred one first. An EDID without any has those of an unknown monitor.
pub(crate) fn edid_modes(edid: &Edid) -> Vec<KmsMode> {
    let mut modes: Vec<KmsMode> = Vec::new();
    let codes = edid.codes.iter().filter(|code| !code.only_420).filter_map(|code| timing_of_code(code.code));
    let timings = edid.preferred().into_iter().chain(&edid.timings).cloned().chain(codes);
    for mode in timings.filter_map(|timing| mode(&timing)) {
        if !modes.iter().any(|known| same_timing(known, &mode)) {
            modes.push(mode);
        }
    }
    match modes.first_mut() {
        Some(first) => *first = preferred(*first),
        None => return unknown_monitor_modes(),
    }
    modes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modes::describe;

    #[test]
    fn unknown_monitor_gets_common_modes() {
        let modes = unknown_monitor_modes();
        let described: Vec<_> = modes
            .iter()
            .map(|mode| describe(0, mode))
            .map(|mode| (mode.width, mode.height, mode.preferred))
            .collect();
        assert_eq!(
            described,
            [(1024, 768, true), (1920, 1080, false), (1280, 720, false), (640, 480, false)]
        );
    }
}
