//! A dma-buf whose fence is signaled late, as by a GPU that is slow, hangs, or is reset.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use drm::control::Device as _;
use geom_lab::Card;
use rustix::ioctl::{ioctl, opcode, Opcode, Setter, Updater};

/// How often the file is looked for.
const INTERVAL: Duration = Duration::from_millis(10);

/// struct drm_vgem_fence_attach (include/uapi/drm/vgem_drm.h).
#[repr(C)]
struct VgemAttach {
    handle: u32,
    flags: u32,
    out_fence: u32,
    pad: u32,
}

/// struct drm_vgem_fence_signal.
#[repr(C)]
struct VgemSignal {
    fence: u32,
    flags: u32,
}

/// struct sw_sync_create_fence_data (drivers/dma-buf/sw_sync.c).
#[repr(C)]
struct SwSyncCreate {
    value: u32,
    name: [u8; 32],
    fence: i32,
}

/// struct dma_buf_import_sync_file (include/uapi/linux/dma-buf.h).
#[repr(C)]
struct ImportSyncFile {
    flags: u32,
    fd: i32,
}

const VGEM_ATTACH: Opcode = opcode::read_write::<VgemAttach>(b'd', 0x41);
const VGEM_SIGNAL: Opcode = opcode::write::<VgemSignal>(b'd', 0x42);
const SW_SYNC_CREATE: Opcode = opcode::read_write::<SwSyncCreate>(b'W', 0);
const IMPORT_SYNC_FILE: Opcode = opcode::write::<ImportSyncFile>(b'b', 3);
/// VGEM_FENCE_WRITE: readers wait for it.
const VGEM_WRITE: u32 = 1;
/// DMA_BUF_SYNC_WRITE: readers wait for it.
const SYNC_WRITE: u32 = 2;

/// Where a fence comes from.
enum Device {
    /// vgem. Its fences are signaled, or end after 10 s.
    Vgem(Card),
    /// sw_sync. Its fences end with an error, as this file is closed.
    SwSync(File),
}

/// A fence that is attached.
enum Attached {
    Vgem { device: Card, fence: u32 },
    SwSync(File),
}

/// The fence of a window's second buffer.
pub struct Fence {
    device: Option<Device>,
    /// The fence ends when this file exists.
    file: PathBuf,
    /// Whether the window's next buffer gets it.
    is_due: bool,
}

impl Fence {
    /// Opens a device: one of vgem, such as `/dev/dri/renderD128`, or debugfs' `sync/sw_sync`.
    pub fn new(device: &Path, file: &Path) -> Result<Self> {
        let device = match device.ends_with("sw_sync") {
            true => {
                let opened = File::options().read(true).write(true).open(device);
                Device::SwSync(opened.with_context(|| device.display().to_string())?)
            }
            false => Device::Vgem(Card::open(device)?),
        };
        Ok(Self { device: Some(device), file: file.to_owned(), is_due: false })
    }

    /// Returns whether the window shows its first buffer, and still has to change.
    pub fn is_waiting(&self) -> bool {
        self.device.is_some() && !self.is_due
    }

    /// Returns whether a buffer has got the fence.
    pub fn is_attached(&self) -> bool {
        self.device.is_none()
    }

    /// The first buffer is shown: the next one gets the fence.
    pub fn first_is_shown(&mut self) {
        self.is_due = true;
    }

    /// Attaches the fence to a new buffer if it is due.
    pub fn attach(&mut self, dmabuf: BorrowedFd<'_>) -> Result<()> {
        if !std::mem::take(&mut self.is_due) {
            return Ok(());
        }
        let attached = match self.device.take() {
            Some(Device::Vgem(device)) => attach_vgem(device, dmabuf)?,
            Some(Device::SwSync(timeline)) => attach_sw_sync(timeline, dmabuf)?,
            None => return Ok(()),
        };
        let file = self.file.clone();
        std::thread::spawn(move || {
            while !file.exists() {
                std::thread::sleep(INTERVAL);
            }
            // Before it ends: a reader of the report then knows that it comes.
            println!("ready 2");
            if let Err(error) = attached.end() {
                println!("cannot end the fence: {error}");
            }
        });
        Ok(())
    }
}

fn attach_vgem(device: Card, dmabuf: BorrowedFd<'_>) -> Result<Attached> {
    let handle = device.prime_fd_to_buffer(dmabuf).context("cannot import the dma-buf into vgem")?;
    let mut attach = VgemAttach { handle: handle.into(), flags: VGEM_WRITE, out_fence: 0, pad: 0 };
    // SAFETY: the opcode takes this structure.
    let update = unsafe { Updater::<VGEM_ATTACH, VgemAttach>::new(&mut attach) };
    // SAFETY: as above.
    unsafe { ioctl(device.as_fd(), update) }.context("cannot attach a fence of vgem")?;
    Ok(Attached::Vgem { device, fence: attach.out_fence })
}

fn attach_sw_sync(timeline: File, dmabuf: BorrowedFd<'_>) -> Result<Attached> {
    let mut create = SwSyncCreate { value: 1, name: [0; 32], fence: -1 };
    // SAFETY: the opcode takes this structure.
    let update = unsafe { Updater::<SW_SYNC_CREATE, SwSyncCreate>::new(&mut create) };
    // SAFETY: as above.
    unsafe { ioctl(&timeline, update) }.context("cannot create a fence of sw_sync")?;
    // SAFETY: the kernel has just created it for this process.
    let _fence = unsafe { OwnedFd::from_raw_fd(create.fence) };
    let import = ImportSyncFile { flags: SYNC_WRITE, fd: create.fence };
    // SAFETY: the opcode takes this structure.
    let import = unsafe { Setter::<IMPORT_SYNC_FILE, ImportSyncFile>::new(import) };
    // SAFETY: as above.
    unsafe { ioctl(dmabuf, import) }.context("cannot attach a fence of sw_sync")?;
    Ok(Attached::SwSync(timeline))
}

impl Attached {
    fn end(self) -> rustix::io::Result<()> {
        match self {
            Self::Vgem { device, fence } => {
                let signal = VgemSignal { fence, flags: 0 };
                // SAFETY: the opcode takes this structure.
                let signal = unsafe { Setter::<VGEM_SIGNAL, VgemSignal>::new(signal) };
                // SAFETY: as above.
                unsafe { ioctl(device.as_fd(), signal) }
            }
            Self::SwSync(timeline) => {
                drop(timeline);
                Ok(())
            }
        }
    }
}
