//! Buffers of one color in each kind of memory.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use geom_test_client::{Buffer, Memory};
use rustix::fs::{fcntl_add_seals, SealFlags};
use rustix::ioctl::{ioctl, opcode, Setter};
use wayland_client::QueueHandle;
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_buffer_params_v1::Flags;

use crate::{App, BufferKind};

/// A window's buffers, which are used again after their release.
#[derive(Default)]
pub struct Buffers(pub Vec<Buffer>);

impl Buffers {
    /// Returns the index of a free buffer of that size.
    pub fn free(&self, size: (i32, i32)) -> Option<usize> {
        self.0.iter().position(|buffer| !buffer.busy && buffer.size == size)
    }
}

/// struct udmabuf_create (include/uapi/linux/udmabuf.h).
#[repr(C)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}
const UDMABUF_CREATE: rustix::ioctl::Opcode = opcode::write::<UdmabufCreate>(b'u', 0x42);
/// UDMABUF_FLAGS_CLOEXEC.
const CLOEXEC: u32 = 1;
/// DRM_FORMAT_XRGB8888.
const XRGB8888: u32 = u32::from_le_bytes(*b"XR24");
/// A udmabuf consists of whole pages.
const PAGE_SIZE: usize = 4096;

/// Creates a buffer of the kind that the options ask for.
pub fn create(app: &mut App, queue: &QueueHandle<App>, size: (i32, i32), color: u32) -> Result<Buffer> {
    match app.options.buffer {
        BufferKind::Shm => app.client.create_buffer(queue, size, color),
        BufferKind::Dmabuf => dmabuf(app, queue, size, color),
        BufferKind::Pixel => {
            let full = |shift: u32| ((color >> shift) & 0xff) * 0x0101_0101;
            let manager = app.pixel.as_ref().context("no wp_single_pixel_buffer_manager_v1")?;
            let wl = manager.create_u32_rgba_buffer(full(16), full(8), full(0), u32::MAX, queue, ());
            Ok(Buffer::new(wl, None, size))
        }
    }
}

fn dmabuf(app: &mut App, queue: &QueueHandle<App>, size: (i32, i32), color: u32) -> Result<Buffer> {
    let length = (size.0 as usize * size.1 as usize * 4).next_multiple_of(PAGE_SIZE);
    let memory = Memory::new(length, color)?;
    fcntl_add_seals(memory.file(), SealFlags::SHRINK)?;
    let device = File::options().read(true).write(true).open("/dev/udmabuf").context("/dev/udmabuf")?;
    let memfd = memory.file().as_raw_fd() as u32;
    let request = UdmabufCreate { memfd, flags: CLOEXEC, offset: 0, size: length as u64 };
    let fd = create_udmabuf(&device, request)?;
    if let Some(fence) = &mut app.fence {
        fence.attach(fd.as_fd())?;
    }
    let params = app.dmabuf.as_ref().context("no zwp_linux_dmabuf_v1")?.create_params(queue, ());
    // Modifier 0 is linear.
    params.add(fd.as_fd(), 0, 0, size.0 as u32 * 4, 0, 0);
    let wl = params.create_immed(size.0, size.1, XRGB8888, Flags::empty(), queue, ());
    Ok(Buffer::new(wl, Some(memory), size))
}

/// Calls UDMABUF_CREATE, which returns a file descriptor.
fn create_udmabuf(device: &File, request: UdmabufCreate) -> Result<OwnedFd> {
    struct Create(Setter<UDMABUF_CREATE, UdmabufCreate>);
    // SAFETY: as for `Setter`, and the result is a new file descriptor.
    unsafe impl rustix::ioctl::Ioctl for Create {
        type Output = OwnedFd;
        const IS_MUTATING: bool = false;
        fn opcode(&self) -> rustix::ioctl::Opcode {
            self.0.opcode()
        }
        fn as_ptr(&mut self) -> *mut std::ffi::c_void {
            self.0.as_ptr()
        }
        unsafe fn output_from_ptr(
            result: rustix::ioctl::IoctlOutput,
            _: *mut std::ffi::c_void,
        ) -> rustix::io::Result<OwnedFd> {
            // SAFETY: the kernel has just created it for this process.
            Ok(unsafe { OwnedFd::from_raw_fd(result) })
        }
    }
    // SAFETY: the opcode takes this structure.
    let create = Create(unsafe { Setter::new(request) });
    // SAFETY: as above.
    unsafe { ioctl(device, create) }.context("UDMABUF_CREATE")
}
