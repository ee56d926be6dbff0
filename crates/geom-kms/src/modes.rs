//! Modes as the kernel has them (`struct drm_mode_modeinfo`, include/uapi/drm/drm_mode.h).

use drm::control::{Mode as KmsMode, ModeFlags, ModeTypeFlags};
use geom_display::mode::Mode;
use geom_display::modeline::Modeline;

/// Size of `struct drm_mode_modeinfo` in bytes.
pub const MODE_BYTES: usize = 68;

/// Returns the vertical refresh rate in millihertz, computed as by the kernel's
/// drm_mode_vrefresh().
fn refresh(mode: &KmsMode) -> u32 {
    let (_, _, htotal) = mode.hsync();
    let (_, _, vtotal) = mode.vsync();
    let total = u64::from(htotal) * u64::from(vtotal) * u64::from(mode.vscan().max(1));
    if total == 0 {
        return mode.vrefresh() * 1000;
    }
    let mut refresh = u64::from(mode.clock()) * 1_000_000 / total;
    if mode.flags().contains(ModeFlags::INTERLACE) {
        refresh *= 2;
    }
    if mode.flags().contains(ModeFlags::DBLSCAN) {
        refresh /= 2;
    }
    refresh as u32
}

/// Returns the mode at this index of a connector's list.
pub fn describe(index: usize, mode: &KmsMode) -> Mode {
    let (width, height) = mode.size();
    Mode {
        width,
        height,
        refresh: refresh(mode),
        interlaced: mode.flags().contains(ModeFlags::INTERLACE),
        preferred: mode.mode_type().contains(ModeTypeFlags::PREFERRED),
        requested: mode.mode_type().contains(ModeTypeFlags::USERDEF),
        index,
        modeline: None,
    }
}

/// Returns a configured timing as the kernel takes it.
pub fn from_modeline(line: &Modeline) -> KmsMode {
    let flag = |set: bool, yes: ModeFlags, no: ModeFlags| if set { yes } else { no };
    let none = ModeFlags::empty();
    let flags = flag(line.hsync, ModeFlags::PHSYNC, ModeFlags::NHSYNC)
        | flag(line.vsync, ModeFlags::PVSYNC, ModeFlags::NVSYNC)
        | flag(line.interlaced, ModeFlags::INTERLACE, none)
        | flag(line.doublescan, ModeFlags::DBLSCAN, none);
    let [hdisplay, hsync_start, hsync_end, htotal] = line.horizontal;
    let [vdisplay, vsync_start, vsync_end, vtotal] = line.vertical;
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(format!("{hdisplay}x{vdisplay}").bytes()) {
        *to = from as std::ffi::c_char;
    }
    KmsMode::from(drm_ffi::drm_mode_modeinfo {
        clock: line.clock,
        hdisplay,
        hsync_start,
        hsync_end,
        htotal,
        vdisplay,
        vsync_start,
        vsync_end,
        vtotal,
        vrefresh: line.refresh() / 1000,
        flags: flags.bits(),
        // Not USERDEF, by which the kernel marks the mode of its command line.
        type_: ModeTypeFlags::empty().bits(),
        name,
        ..Default::default()
    })
}

/// Returns whether two modes have the same timing. Names and the flags that say where a mode comes
/// from do not count.
pub fn same_timing(one: &KmsMode, other: &KmsMode) -> bool {
    one.clock() == other.clock()
        && one.size() == other.size()
        && one.hsync() == other.hsync()
        && one.vsync() == other.vsync()
        && one.flags() == other.flags()
}

/// Returns the content of a `MODE_ID` blob.
pub fn to_bytes(mode: &KmsMode) -> [u8; MODE_BYTES] {
    let mode = drm_ffi::drm_mode_modeinfo::from(*mode);
    let halves = [
        mode.hdisplay,
        mode.hsync_start,
        mode.hsync_end,
        mode.htotal,
        mode.hskew,
        mode.vdisplay,
        mode.vsync_start,
        mode.vsync_end,
        mode.vtotal,
        mode.vscan,
    ];
    let clock = mode.clock.to_ne_bytes();
    let halves = halves.into_iter().flat_map(u16::to_ne_bytes);
    let words = [mode.vrefresh, mode.flags, mode.type_].into_iter().flat_map(u32::to_ne_bytes);
    let name = mode.name.into_iter().map(|letter| letter as u8);
    let mut bytes = [0; MODE_BYTES];
    for (to, from) in bytes.iter_mut().zip(clock.into_iter().chain(halves).chain(words).chain(name)) {
        *to = from;
    }
    bytes
}

/// Returns the mode in a `MODE_ID` blob; `None` if it is too short.
pub fn from_bytes(bytes: &[u8]) -> Option<KmsMode> {
    let half = |at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let mut name = [0; 32];
    for (to, from) in name.iter_mut().zip(bytes.get(36..MODE_BYTES)?) {
        *to = *from as std::ffi::c_char;
    }
    Some(KmsMode::from(drm_ffi::drm_mode_modeinfo {
        clock: word(0)?,
        hdisplay: half(4)?,
        hsync_start: half(6)?,
        hsync_end: half(8)?,
        htotal: half(10)?,
        hskew: half(12)?,
        vdisplay: half(14)?,
        vsync_start: half(16)?,
        vsync_end: half(18)?,
        vtotal: half(20)?,
        vscan: half(22)?,
        vrefresh: word(24)?,
        flags: word(28)?,
        type_: word(32)?,
        name,
    }))
}

#[cfg(test)]
mod tests {
    use geom_display::modeline::Blanking;

    use super::*;

    #[test]
    fn blob_has_the_layout_of_the_kernel_struct() {
        assert_eq!(size_of::<drm_ffi::drm_mode_modeinfo>(), MODE_BYTES);
        let mode = from_modeline(&Modeline::cvt(1920, 1080, 60_000, Blanking::Cvt).expect("CVT"));
        let bytes = to_bytes(&mode);
        assert_eq!(from_bytes(&bytes), Some(mode));
        assert_eq!(bytes[4..6], 1920u16.to_ne_bytes());
        assert_eq!(&bytes[36..45], b"1920x1080");
        assert_eq!(from_bytes(&bytes[..67]), None);
    }

    #[test]
    fn refresh_follows_flags() {
        let mut line = Modeline::cvt(1280, 720, 60_000, Blanking::Cvt).expect("CVT");
        let progressive = describe(3, &from_modeline(&line));
        assert_eq!((progressive.width, progressive.height, progressive.index), (1280, 720, 3));
        line.interlaced = true;
        assert_eq!(describe(0, &from_modeline(&line)).refresh / 10, progressive.refresh * 2 / 10);
        line.interlaced = false;
        line.doublescan = true;
        assert_eq!(describe(0, &from_modeline(&line)).refresh, progressive.refresh / 2);
    }

    #[test]
    fn timings_differ_by_more_than_the_name() {
        let line = Modeline::cvt(1280, 720, 60_000, Blanking::Cvt).expect("CVT");
        let mut renamed = drm_ffi::drm_mode_modeinfo::from(from_modeline(&line));
        renamed.name[0] = 0;
        renamed.type_ = 0;
        assert!(same_timing(&from_modeline(&line), &KmsMode::from(renamed)));
        let faster = Modeline { clock: line.clock + 1, ..line };
        assert!(!same_timing(&from_modeline(&line), &from_modeline(&faster)));
    }
}
