//! Buffers of one colour, in each kind of memory.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::fs::{fcntl_add_seals, ftruncate, memfd_create, MemfdFlags, SealFlags};
use rustix::ioctl::{ioctl, opcode, Setter};
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use wayland_client::protocol::{wl_buffer::WlBuffer, wl_shm};
use wayland_client::QueueHandle;
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_buffer_params_v1::Flags;

use crate::{App, BufferKind};

/// A buffer, its memory, and whether the compositor reads it now.
pub struct Buffer {
    pub wl: WlBuffer,
    memory: Option<Memory>,
    size: (i32, i32),
    pub busy: bool,
}

/// A window's buffers, used again when they are released.
#[derive(Default)]
pub struct Ring(pub Vec<Buffer>);

impl Ring {
    /// The place of a free buffer of that size, if there is one.
    pub fn free(&self, size: (i32, i32)) -> Option<usize> {
        self.0.iter().position(|buffer| !buffer.busy && buffer.size == size)
    }
}

/// `UDMABUF_CREATE` and its argument (include/uapi/linux/udmabuf.h).
#[repr(C)]
struct UdmabufCreate {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}
const UDMABUF_CREATE: rustix::ioctl::Opcode = opcode::write::<UdmabufCreate>(b'u', 0x42);

/// Shared memory, mapped: painting costs no system call.
struct Memory {
    file: File,
    pointer: *mut u32,
    pixels: usize,
}

impl Memory {
    fn new(length: u64, color: u32) -> Result<Self> {
        let fd = memfd_create("client", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, length)?;
        let length = usize::try_from(length)?;
        // SAFETY: a fresh mapping, unmapped by `drop` alone.
        let pointer = unsafe {
            mmap(std::ptr::null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &fd, 0)
        }?;
        let mut memory = Self { file: File::from(fd), pointer: pointer.cast(), pixels: length / 4 };
        memory.pixels().fill(color | 0xff00_0000);
        Ok(memory)
    }

    fn pixels(&mut self) -> &mut [u32] {
        // SAFETY: `pixels` words are mapped as long as `self` lives; the compositor only reads.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.pixels) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; no slice outlives `self`.
        let _ = unsafe { munmap(self.pointer.cast(), self.pixels * 4) };
    }
}

impl Buffer {
    pub fn new(app: &App, queue: &QueueHandle<App>, size: (i32, i32), color: u32) -> Result<Self> {
        match app.options.buffer {
            BufferKind::Shm => Self::shm(app, queue, size, color),
            BufferKind::Dmabuf => Self::dmabuf(app, queue, size, color),
            BufferKind::Pixel => {
                let full = |channel: u32| ((color >> channel) & 0xff) * 0x0101_0101;
                let manager = app.pixel.as_ref().context("no single-pixel buffers")?;
                let wl = manager.create_u32_rgba_buffer(full(16), full(8), full(0), u32::MAX, queue, ());
                Ok(Self { wl, memory: None, size, busy: false })
            }
        }
    }

    fn shm(app: &App, queue: &QueueHandle<App>, size: (i32, i32), color: u32) -> Result<Self> {
        let bytes = size.0 as usize * size.1 as usize * 4;
        let memory = Memory::new(bytes as u64, color)?;
        let shm = app.shm.as_ref().context("no wl_shm")?;
        let pool = shm.create_pool(memory.file.as_fd(), i32::try_from(bytes)?, queue, ());
        let wl = pool.create_buffer(0, size.0, size.1, size.0 * 4, wl_shm::Format::Xrgb8888, queue, ());
        pool.destroy();
        Ok(Self { wl, memory: Some(memory), size, busy: false })
    }

    fn dmabuf(app: &App, queue: &QueueHandle<App>, size: (i32, i32), color: u32) -> Result<Self> {
        let length = (size.0 as u64 * size.1 as u64 * 4).next_multiple_of(4096);
        let memory = Memory::new(length, color)?;
        fcntl_add_seals(&memory.file, SealFlags::SHRINK)?;
        let device = File::options().read(true).write(true).open("/dev/udmabuf").context("/dev/udmabuf")?;
        let request =
            UdmabufCreate { memfd: memory.file.as_raw_fd() as u32, flags: 1, offset: 0, size: length };
        let fd = create_udmabuf(&device, request)?;
        let params = app.dmabuf.as_ref().context("no linux-dmabuf")?.create_params(queue, ());
        // Linear: modifier 0. XRGB8888: "XR24".
        params.add(fd.as_fd(), 0, 0, size.0 as u32 * 4, 0, 0);
        let wl = params.create_immed(size.0, size.1, u32::from_le_bytes(*b"XR24"), Flags::empty(), queue, ());
        Ok(Self { wl, memory: Some(memory), size, busy: false })
    }

    /// Paints a rectangle.
    pub fn paint(&mut self, (x, y, width, height): (i32, i32, i32, i32), color: u32) {
        let row = self.size.0 as usize;
        let Some(memory) = &mut self.memory else { return };
        for line in memory.pixels().chunks_mut(row).skip(y as usize).take(height as usize) {
            if let Some(part) = line.get_mut(x as usize..(x + width) as usize) {
                part.fill(color | 0xff00_0000);
            }
        }
    }
}

/// The ioctl answers with a descriptor.
fn create_udmabuf(device: &File, request: UdmabufCreate) -> Result<OwnedFd> {
    struct Create(Setter<UDMABUF_CREATE, UdmabufCreate>);
    // SAFETY: as `Setter`, and the answer is a fresh descriptor.
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
            answer: rustix::ioctl::IoctlOutput,
            _: *mut std::ffi::c_void,
        ) -> rustix::io::Result<OwnedFd> {
            // SAFETY: the kernel just made it for us.
            Ok(unsafe { OwnedFd::from_raw_fd(answer) })
        }
    }
    // SAFETY: the opcode takes this structure.
    let create = Create(unsafe { Setter::new(request) });
    // SAFETY: as above.
    unsafe { ioctl(device, create) }.context("UDMABUF_CREATE")
}
