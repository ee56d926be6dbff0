//! Buffers of one color in shared memory.

use std::fs::File;
use std::os::fd::AsFd;

use anyhow::Result;
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm;
use wayland_client::QueueHandle;

use crate::Handler;

const OPAQUE: u32 = 0xff00_0000;

/// Mapped shared memory, so that painting needs no system call.
pub struct Memory {
    file: File,
    pointer: *mut u32,
    pixels: usize,
}

impl Memory {
    /// Allocates `bytes` bytes and fills them with a color, 0x00RRGGBB, as XRGB8888.
    ///
    /// # Errors
    /// If the memory cannot be allocated.
    pub fn new(bytes: usize, color: u32) -> Result<Self> {
        let fd = memfd_create("client", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, bytes as u64)?;
        // SAFETY: a new mapping, which only `drop` unmaps.
        let pointer = unsafe {
            mmap(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &fd, 0)
        }?;
        let mut memory = Self { file: File::from(fd), pointer: pointer.cast(), pixels: bytes / 4 };
        memory.pixels().fill(color | OPAQUE);
        Ok(memory)
    }

    /// Returns the memory's file.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn pixels(&mut self) -> &mut [u32] {
        // SAFETY: `pixels` words are mapped as long as `self` lives; the compositor only reads.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.pixels) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it, and no slice of it outlives `self`.
        let _ = unsafe { munmap(self.pointer.cast(), self.pixels * 4) };
    }
}

/// A buffer and its memory.
pub struct Buffer {
    /// The protocol object.
    pub wl: WlBuffer,
    memory: Option<Memory>,
    /// Width and height in pixels.
    pub size: (i32, i32),
    /// Whether the compositor may be reading it.
    pub busy: bool,
}

impl Buffer {
    /// Creates an object for a buffer of any kind; without `memory` it cannot be painted.
    pub fn new(wl: WlBuffer, memory: Option<Memory>, size: (i32, i32)) -> Self {
        Self { wl, memory, size, busy: false }
    }

    /// Creates an XRGB8888 buffer of a color, 0x00RRGGBB, through wl_shm.
    ///
    /// # Errors
    /// If its memory cannot be allocated.
    pub fn shm<S: Handler>(
        shm: &wl_shm::WlShm,
        queue: &QueueHandle<S>,
        size: (i32, i32),
        color: u32,
    ) -> Result<Self> {
        let bytes = size.0 as usize * size.1 as usize * 4;
        let memory = Memory::new(bytes, color)?;
        let pool = shm.create_pool(memory.file.as_fd(), i32::try_from(bytes)?, queue, ());
        let wl = pool.create_buffer(0, size.0, size.1, size.0 * 4, wl_shm::Format::Xrgb8888, queue, ());
        pool.destroy();
        Ok(Self::new(wl, Some(memory), size))
    }

    /// Paints a rectangle of x, y, width and height in a color.
    pub fn paint(&mut self, (x, y, width, height): (i32, i32, i32, i32), color: u32) {
        let row = self.size.0 as usize;
        let Some(memory) = &mut self.memory else { return };
        for line in memory.pixels().chunks_mut(row).skip(y as usize).take(height as usize) {
            if let Some(part) = line.get_mut(x as usize..(x + width) as usize) {
                part.fill(color | OPAQUE);
            }
        }
    }
}
