//! Pixel formats and modifiers: what planes scan out, and what our own buffers get.
//!
//! Source: include/uapi/drm/drm_mode.h and include/uapi/drm/drm_fourcc.h.

use std::collections::HashMap;

use drm::buffer::{DrmFourcc, DrmModifier};

/// Formats of our own buffers with at most 8 bits per color, best first.
///
/// Nearly every plane has the first one. tilcdc, wired for blue before red, has only the second one
/// (tilcdc_drv.c). Drivers of big-endian machines have the byte-swapped ones
/// (drm_driver_legacy_fb_format()), and small SPI panels only 16 bits per pixel
/// (drm_mipi_dbi.c). All of them are formats of pixman and of GLES.
pub const FORMATS: [DrmFourcc; 5] =
    [DrmFourcc::Xrgb8888, DrmFourcc::Xbgr8888, DrmFourcc::Bgrx8888, DrmFourcc::Rgbx8888, DrmFourcc::Rgb565];

/// The pixel formats that a plane can scan out.
///
/// Each with its modifiers; without any if the driver does not list them (no `IN_FORMATS`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaneFormats(Vec<(DrmFourcc, Vec<DrmModifier>)>);

impl PlaneFormats {
    /// Returns the formats of a plane: `codes` of the formats that it lists, and its `IN_FORMATS`
    /// blob, which is empty if the driver has none. Unknown codes are left out.
    pub(crate) fn new(codes: &[u32], in_formats: &[u8]) -> Self {
        let modifiers = parse_in_formats(in_formats);
        let codes = codes.iter().filter_map(|code| DrmFourcc::try_from(*code).ok());
        let listed = |code: DrmFourcc| modifiers.get(&(code as u32)).cloned().unwrap_or_default();
        Self(codes.map(|code| (code, listed(code))).collect())
    }

    /// Returns whether the plane can scan out a format, with some modifier.
    pub fn contains(&self, code: DrmFourcc) -> bool {
        self.0.iter().any(|(format, _)| *format == code)
    }

    /// Returns whether the plane can scan out a format with this modifier. Without a list of
    /// modifiers, only linear is certain.
    pub fn supports(&self, code: DrmFourcc, modifier: DrmModifier) -> bool {
        self.0.iter().any(|(format, modifiers)| {
            *format == code
                && (modifiers.contains(&modifier)
                    || (modifiers.is_empty() && modifier == DrmModifier::Linear))
        })
    }

    /// Returns the modifiers of a format.
    pub fn modifiers(&self, code: DrmFourcc) -> &[DrmModifier] {
        self.0.iter().find(|(format, _)| *format == code).map_or(&[], |(_, modifiers)| modifiers)
    }

    /// Returns the modifiers that our own buffers of a format may have: those of the plane without
    /// compression. If the plane scans out nothing else, all of them.
    pub fn buffer_modifiers(&self, code: DrmFourcc) -> Vec<DrmModifier> {
        let all = self.modifiers(code);
        let plain: Vec<DrmModifier> =
            all.iter().copied().filter(|modifier| !is_compressed(*modifier)).collect();
        if plain.is_empty() {
            all.to_vec()
        } else {
            plain
        }
    }

    /// Returns the format of our own buffers with at most 8 bits per color: the first of
    /// [`FORMATS`] that the plane scans out and `can_render` accepts.
    pub fn buffer_format(&self, can_render: impl Fn(DrmFourcc) -> bool) -> Option<DrmFourcc> {
        FORMATS.into_iter().find(|code| self.contains(*code) && can_render(*code))
    }
}

/// Returns whether a modifier compresses.
///
/// Our own buffers are not compressed, because what compression saves in memory bandwidth it costs
/// in what the display engine has to share between monitors, so that a third monitor or a higher
/// mode no longer fits, and because not every plane of a device decompresses:
///
/// - Intel CCS needs more of the display buffer than the same tiling without it. On generation 9,
///   pipe C and the upper planes have no decompressor (skl_plane_has_ccs() in
///   skl_universal_plane.c).
/// - AMD DCC: its metadata is fetched in addition, and some variants have to be resolved for the
///   display after each frame (`DCC_RETILE` in drm_fourcc.h).
/// - NVIDIA: compressed kinds have to be resolved before scanout, and planes list none of them.
/// - Arm AFBC and AFRC are a matter of each plane: on Rockchip's VOP2 only cluster windows
///   decompress, and those of RK3568 do nothing else (rockchip_vop2_mod_supported() in
///   rockchip_drm_vop2.c).
/// - Qualcomm UBWC, Vivante's tile status and DEC400, and Amlogic FBC: only some planes decompress.
pub fn is_compressed(modifier: DrmModifier) -> bool {
    let bits = u64::from(modifier);
    if modifier == DrmModifier::Invalid {
        return false;
    }
    let (vendor, value) = (bits >> 56, bits & ((1 << 56) - 1));
    match vendor {
        // I915_FORMAT_MOD_*: 9 is tile 4, the others are linear within tiles.
        0x01 => !matches!(value, 1..=3 | 9),
        // AMD_FMT_MOD_DCC.
        0x02 => value >> 13 & 1 != 0,
        // DRM_FORMAT_MOD_NVIDIA_BLOCK_LINEAR_2D: bit 4 marks it, and c is at bit 23.
        0x03 => value & 0x10 != 0 && value >> 23 & 7 != 0,
        // DRM_FORMAT_MOD_QCOM_COMPRESSED.
        0x05 => value == 1,
        // VIVANTE_MOD_TS_MASK and VIVANTE_MOD_COMP_MASK.
        0x06 => value >> 48 != 0,
        // DRM_FORMAT_MOD_ARM_TYPE_AFBC and _AFRC; _MISC is not compressed.
        0x08 => matches!(value >> 52, 0 | 2),
        // DRM_FORMAT_MOD_AMLOGIC_FBC is the vendor's only one.
        0x0a => true,
        _ => false,
    }
}

/// Parses the `IN_FORMATS` blob: `struct drm_format_modifier_blob` (include/uapi/drm/drm_mode.h).
fn parse_in_formats(blob: &[u8]) -> HashMap<u32, Vec<DrmModifier>> {
    let word = |at: usize| Some(u32::from_ne_bytes(blob.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(blob.get(at..at + 8)?.try_into().ok()?));
    let mut formats: HashMap<u32, Vec<DrmModifier>> = HashMap::new();
    let (Some(format_count), Some(formats_at), Some(modifier_count), Some(modifiers_at)) =
        (word(8), word(12), word(16), word(20))
    else {
        return formats;
    };
    for number in 0..modifier_count as usize {
        let at = modifiers_at as usize + number * 24;
        let (Some(mask), Some(offset), Some(modifier)) = (long(at), word(at + 8), long(at + 16)) else {
            break;
        };
        for bit in (0..64).filter(|bit| mask & (1 << bit) != 0) {
            let index = offset as usize + bit;
            if index < format_count as usize {
                if let Some(code) = word(formats_at as usize + index * 4) {
                    formats.entry(code).or_default().push(DrmModifier::from(modifier));
                }
            }
        }
    }
    formats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::in_formats_blob as blob;

    #[test]
    fn in_formats_lists_modifiers_per_format() {
        let formats = parse_in_formats(&blob(&[11, 22, 33], &[(0b101, 0, 0), (0b1, 1, 7)]));
        assert_eq!(formats[&11], [DrmModifier::Linear]);
        assert_eq!(formats[&22], [DrmModifier::from(7)]);
        assert_eq!(formats[&33], [DrmModifier::Linear]);
    }

    #[test]
    fn truncated_in_formats_blobs_do_not_panic() {
        let whole = blob(&[11, 22, 33], &[(u64::MAX, 0, 0), (u64::MAX, u32::MAX, 7)]);
        for length in 0..whole.len() {
            parse_in_formats(&whole[..length]);
        }
    }

    #[test]
    fn compressed_modifiers_of_each_vendor_are_known() {
        let of = |vendor: u64, value: u64| DrmModifier::from(vendor << 56 | value);
        // Linear, implicit, Intel X, Y and 4, AMD GFX9 64K_S_X, NVIDIA block linear, Broadcom T,
        // Arm's 16x16 blocks.
        let plain = [
            DrmModifier::Linear,
            DrmModifier::Invalid,
            of(1, 1),
            of(1, 2),
            of(1, 9),
            of(2, 1 | 25 << 8),
            of(3, 0x10 | 4 | 1 << 22 | 6 << 12),
            of(7, 1),
            of(8, 1 << 52 | 1),
        ];
        for modifier in plain {
            assert!(!is_compressed(modifier), "{modifier:?}");
        }
        // Intel gen 9, 12 and Xe2 CCS, AMD DCC, NVIDIA with c = 1, UBWC, Vivante DEC400, AFBC,
        // AFRC, Amlogic FBC.
        let compressed = [
            of(1, 4),
            of(1, 6),
            of(1, 16),
            of(2, 1 | 25 << 8 | 1 << 13),
            of(3, 0x10 | 4 | 1 << 23),
            of(5, 1),
            of(6, 1 << 52 | 2),
            of(8, 1 | 1 << 6),
            of(8, 2 << 52 | 1),
            of(0xa, 1),
        ];
        for modifier in compressed {
            assert!(is_compressed(modifier), "{modifier:?}");
        }
    }

    #[test]
    fn buffers_are_compressed_only_if_the_plane_has_nothing_else() {
        let (tiled, ccs) = (0x0100_0000_0000_0002, 0x0100_0000_0000_0004);
        let codes = [DrmFourcc::Xrgb8888 as u32, DrmFourcc::Xrgb2101010 as u32];
        let formats = PlaneFormats::new(&codes, &blob(&codes, &[(0b11, 0, ccs), (0b01, 0, tiled)]));
        assert_eq!(formats.buffer_modifiers(DrmFourcc::Xrgb8888), [DrmModifier::from(tiled)]);
        assert_eq!(formats.buffer_modifiers(DrmFourcc::Xrgb2101010), [DrmModifier::from(ccs)]);
        assert!(formats.buffer_modifiers(DrmFourcc::Rgb565).is_empty());
    }

    #[test]
    fn buffers_have_the_first_format_that_both_know() {
        let of = |codes: &[DrmFourcc]| {
            let codes: Vec<u32> = codes.iter().map(|code| *code as u32).collect();
            PlaneFormats::new(&codes, &[])
        };
        let all = of(&[DrmFourcc::Rgb565, DrmFourcc::Xbgr8888, DrmFourcc::Xrgb8888]);
        assert_eq!(all.buffer_format(|_| true), Some(DrmFourcc::Xrgb8888));
        assert_eq!(all.buffer_format(|code| code != DrmFourcc::Xrgb8888), Some(DrmFourcc::Xbgr8888));
        assert_eq!(of(&[DrmFourcc::Rgb565]).buffer_format(|_| true), Some(DrmFourcc::Rgb565));
        assert_eq!(of(&[DrmFourcc::Nv12]).buffer_format(|_| true), None);
    }
}
