//! What drivers differ in, if the kernel has no property or capability that says so.

/// What is special about a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirks {
    /// There is a GPU to render with. Without one, Mesa would run GLES on the CPU, several times
    /// slower than pixman.
    pub has_gpu: bool,
    /// The driver copies what changed in a frame, or transmits it, so that damage saves it work.
    /// Other drivers scan out the framebuffer itself, and a blob of damage for each frame would be
    /// wasted.
    pub uses_damage: bool,
    /// `COLOR_RANGE` of planes starts with full range, and some display engines may apply it to RGB
    /// formats. On other drivers it starts with limited range, and matters for YUV formats only.
    pub has_full_range_planes: bool,
    /// The host of a virtual machine renders into memory of its own: other devices of the guest do
    /// not see what is rendered.
    pub renders_on_host: bool,
    /// The host of a virtual machine shows the cursor, and places it by its hotspot. Kernels before
    /// 6.8 have no properties for that.
    pub needs_hotspot: bool,
}

/// Drivers that render with a GPU and scan out the framebuffer itself.
const DEFAULT: Quirks = Quirks {
    has_gpu: true,
    uses_damage: false,
    has_full_range_planes: false,
    renders_on_host: false,
    needs_hotspot: false,
};

const GUEST_GPU: Quirks = Quirks { uses_damage: true, renders_on_host: true, needs_hotspot: true, ..DEFAULT };
const NO_GPU: Quirks = Quirks { has_gpu: false, ..DEFAULT };
const NO_GPU_COPIES: Quirks = Quirks { has_gpu: false, uses_damage: true, ..DEFAULT };
const NO_GPU_GUEST: Quirks = Quirks { needs_hotspot: true, ..NO_GPU_COPIES };
const FULL_RANGE: Quirks = Quirks { has_full_range_planes: true, ..DEFAULT };

/// Drivers by the name in DRM_IOCTL_VERSION, their quirks, and the reason. The paths are in the
/// kernel's drivers/gpu/drm, except for drivers that are not in the kernel.
const QUIRKS: [(&str, Quirks, &str); 21] = [
    (
        "nvidia-drm",
        FULL_RANGE,
        "range of all formats (nvkms-api-types.h); also worked around in hyprwm/aquamarine#335",
    ),
    ("virtio_gpu", GUEST_GPU, "transfers the damage to the host (virtio/virtgpu_plane.c)"),
    ("vmwgfx", GUEST_GPU, "copies the damage to the host's surface (vmwgfx/vmwgfx_kms.c)"),
    ("vkms", NO_GPU, "composes the framebuffers in software for CRCs and writeback, without damage (vkms/)"),
    ("bochs-drm", NO_GPU_COPIES, "QEMU's standard VGA; newer kernels copy to video memory (tiny/bochs.c)"),
    ("bochs", NO_GPU_COPIES, "as bochs-drm, by the name of its module"),
    ("cirrus", NO_GPU_COPIES, "QEMU's Cirrus VGA; copies to video memory (tiny/cirrus.c)"),
    ("cirrus-qemu", NO_GPU_COPIES, "the name of cirrus in newer kernels (tiny/cirrus-qemu.c)"),
    ("simpledrm", NO_GPU_COPIES, "copies to the firmware's framebuffer (sysfb/simpledrm.c)"),
    ("ofdrm", NO_GPU_COPIES, "copies to the firmware's framebuffer (sysfb/ofdrm.c)"),
    ("efidrm", NO_GPU_COPIES, "copies to the firmware's framebuffer (sysfb/efidrm.c)"),
    ("vesadrm", NO_GPU_COPIES, "copies to the firmware's framebuffer (sysfb/vesadrm.c)"),
    ("corebootdrm", NO_GPU_COPIES, "copies to the firmware's framebuffer (sysfb/corebootdrm.c)"),
    ("qxl", NO_GPU_GUEST, "no 3D; the host sends what changed to SPICE clients (qxl/qxl_display.c)"),
    ("ast", NO_GPU_COPIES, "a server's management controller; copies to video memory (ast/ast_mode.c)"),
    ("mgag200", NO_GPU_COPIES, "as ast (mgag200/mgag200_mode.c)"),
    ("udl", NO_GPU_COPIES, "DisplayLink USB 2; compresses and sends the damage (udl/udl_modeset.c)"),
    ("gud", NO_GPU_COPIES, "USB display; sends the damage (gud/gud_pipe.c)"),
    ("evdi", NO_GPU_COPIES, "DisplayLink USB 3, not in the kernel; its daemon reads and sends the damage"),
    ("hyperv_drm", NO_GPU_COPIES, "copies to video memory and tells the host (hyperv/hyperv_drm_modeset.c)"),
    ("vboxvideo", NO_GPU_GUEST, "tells the host which rectangles changed, and nothing without (vbox_mode.c)"),
];

/// Returns the quirks of a driver.
pub fn of(driver: &str) -> Quirks {
    QUIRKS.iter().find(|(name, ..)| *name == driver).map_or(DEFAULT, |(_, quirks, _)| *quirks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_listed_once_with_a_reason() {
        for (index, (name, _, reason)) in QUIRKS.iter().enumerate() {
            assert!(!reason.is_empty(), "{name}");
            assert!(QUIRKS[index + 1..].iter().all(|(other, ..)| other != name), "{name} is listed twice");
        }
    }

    #[test]
    fn unknown_drivers_render_and_scan_out_directly() {
        assert_eq!(of("i915"), DEFAULT);
        assert_eq!(of("simpledrm"), NO_GPU_COPIES);
        assert_eq!(of("virtio_gpu"), GUEST_GPU);
        assert!(of("nvidia-drm").has_full_range_planes);
    }
}
