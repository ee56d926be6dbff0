//! Fences of the GPU in sync files.
//!
//! Source: include/uapi/linux/sync_file.h of the kernel.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::ioctl::{ioctl, opcode, Updater};

/// Most fences of a sync file that are read. A frame of one context has one.
const MAX_FENCES: usize = 8;

/// `struct sync_fence_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FenceInfo {
    timeline: [u8; 32],
    driver: [u8; 32],
    /// 1 signaled, 0 active, negative an error.
    status: i32,
    flags: u32,
    /// Of CLOCK_MONOTONIC.
    timestamp_ns: u64,
}

/// `struct sync_file_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FileInfo {
    name: [u8; 32],
    status: i32,
    flags: u32,
    /// In: the length of the array; out: how many there are.
    num_fences: u32,
    pad: u32,
    /// The address of an array of [`FenceInfo`].
    fences: u64,
}

/// SYNC_IOC_FILE_INFO.
const FILE_INFO: rustix::ioctl::Opcode = opcode::read_write::<FileInfo>(b'>', 4);

/// Returns when all fences of a sync file were signaled, by CLOCK_MONOTONIC; `None` if one of them
/// is not, or if there are more than 8.
///
/// # Errors
///
/// Returns the kernel's error; ENOTTY if the file is no sync file.
pub fn signaled_at(file: BorrowedFd<'_>) -> io::Result<Option<Duration>> {
    let mut fences = [FenceInfo::default(); MAX_FENCES];
    let address = std::ptr::from_mut(&mut fences) as u64;
    let mut info = FileInfo { num_fences: MAX_FENCES as u32, fences: address, ..FileInfo::default() };
    // SAFETY: the ioctl reads and writes `FileInfo`, and writes at most `num_fences` entries of the
    // array, which outlives the call.
    let result = unsafe { ioctl(file, Updater::<FILE_INFO, FileInfo>::new(&mut info)) };
    match result {
        Ok(()) => {}
        // There are more fences than the array is long.
        Err(rustix::io::Errno::INVAL) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    if info.status != 1 {
        return Ok(None);
    }
    let signaled = fences.iter().take(info.num_fences as usize).map(|fence| fence.timestamp_ns).max();
    Ok(signaled.map(Duration::from_nanos))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_kernel() {
        assert_eq!((size_of::<FenceInfo>(), size_of::<FileInfo>()), (80, 56));
    }

    #[test]
    fn other_files_are_an_error() {
        let file = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).expect("eventfd");
        assert!(signaled_at(file.as_fd()).is_err());
    }
}
