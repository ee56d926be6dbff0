//! GPUs that QEMU or the kernel provide.

/// A GPU of a QEMU machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// `virtio-gpu-pci`: 2D, with monitors that can be connected and disconnected. The first is
    /// connected at boot.
    VirtioGpu {
        /// Number of heads, from 1 to 16.
        heads: usize,
    },
    /// `virtio-gpu-gl-pci`: OpenGL by virglrenderer, on the host's software rasterizer, with native
    /// fences and a render node.
    VirtioGpuGl,
    /// `bochs-display`: a plain framebuffer.
    Bochs,
    /// `qxl`, with one connected monitor.
    Qxl,
    /// `VGA`: the machine boots by UEFI, whose framebuffer efifb, or simpledrm with
    /// [`Suite::Simpledrm`](super::Suite::Simpledrm), drives until the driver is loaded.
    StdVga,
    /// `virtio-vga-gl`: boots as [`Self::StdVga`] does, and is a [`Self::VirtioGpuGl`] once the
    /// driver is loaded.
    VirtioVgaGl,
    /// `vgem`: a module without hardware, a card without connectors and a render node.
    Vgem,
}

impl Device {
    /// Returns the kernel's name of the driver, as `DRM_IOCTL_VERSION` has it.
    pub fn driver(self) -> &'static str {
        match self {
            Self::VirtioGpu { .. } | Self::VirtioGpuGl | Self::VirtioVgaGl => "virtio_gpu",
            Self::Bochs | Self::StdVga => "bochs-drm",
            Self::Qxl => "qxl",
            Self::Vgem => "vgem",
        }
    }

    /// Returns the kernel module of its driver.
    pub fn module(self) -> &'static str {
        match self {
            Self::VirtioGpu { .. } | Self::VirtioGpuGl | Self::VirtioVgaGl => "virtio-gpu",
            Self::Bochs | Self::StdVga => "bochs",
            Self::Qxl => "qxl",
            Self::Vgem => "vgem",
        }
    }

    /// Returns whether virglrenderer draws for it: QEMU's window needs an X server, and what a
    /// monitor gets is a texture.
    pub fn has_gl(self) -> bool {
        matches!(self, Self::VirtioGpuGl | Self::VirtioVgaGl)
    }

    /// Returns whether the machine boots by UEFI, and shows the firmware's framebuffer on it.
    pub(super) fn needs_uefi(self) -> bool {
        matches!(self, Self::StdVga | Self::VirtioVgaGl)
    }

    /// Returns QEMU's `-device` without its id and address, if it is one.
    pub(super) fn argument(self) -> Option<String> {
        Some(match self {
            Self::VirtioGpu { heads } => format!("virtio-gpu-pci,max_outputs={heads}"),
            Self::VirtioGpuGl => "virtio-gpu-gl-pci".into(),
            Self::Bochs => "bochs-display".into(),
            Self::Qxl => "qxl".into(),
            Self::StdVga => "VGA".into(),
            Self::VirtioVgaGl => "virtio-vga-gl".into(),
            Self::Vgem => return None,
        })
    }

    /// Returns the number of monitors that a VNC client connects and disconnects.
    pub(super) fn pluggable_heads(self) -> usize {
        match self {
            Self::VirtioGpu { heads } => heads,
            _ => 0,
        }
    }
}
