//! wl_shm: sizes of pools, and how many pools and buffers there are.

use smithay::backend::allocator::format::get_bpp;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_shm::{self, WlShm};
use smithay::reexports::wayland_server::protocol::wl_shm_pool::{self, WlShmPool};
use smithay::reexports::wayland_server::{delegate_global_dispatch, Client, Resource, WEnum};
use smithay::wayland::shm::{shm_format_to_fourcc, ShmBufferUserData, ShmPoolUserData, ShmState};

use super::{guard, Checked, Refused};
use crate::clients::objects::Counted;
use crate::clients::received_file::may_block;
use crate::compositor::State;

fn check_shm(
    _state: &mut State,
    _client: &Client,
    shm: &WlShm,
    request: &wl_shm::Request,
    (): &(),
) -> Checked {
    match request {
        wl_shm::Request::CreatePool { fd, .. } if may_block(fd) => {
            shm.post_error(wl_shm::Error::InvalidFd, "the file is on a file system that may block");
            Err(Refused)
        }
        _ => Ok(()),
    }
}

/// Returns whether rows of pixels start in the middle of one. pixman does not take such an image,
/// and drawing it would need unaligned access, which not every processor has.
fn is_misaligned(offset: i32, stride: i32, format: WEnum<wl_shm::Format>) -> bool {
    let fourcc = format.into_result().ok().and_then(shm_format_to_fourcc);
    let Some(bytes) = fourcc.and_then(get_bpp).and_then(|bits| i32::try_from(bits / 8).ok()) else {
        return false;
    };
    bytes > 0 && (offset % bytes != 0 || stride % bytes != 0)
}

/// Smithay posts the error for a size of 0 or less, and panics then.
fn check_pool(
    _state: &mut State,
    _client: &Client,
    pool: &WlShmPool,
    request: &wl_shm_pool::Request,
    _data: &ShmPoolUserData,
) -> Checked {
    match request {
        wl_shm_pool::Request::Resize { size } if *size <= 0 => {
            pool.post_error(wl_shm::Error::InvalidFd, format!("a pool cannot have {size} bytes"));
            Err(Refused)
        }
        wl_shm_pool::Request::CreateBuffer { offset, stride, format, .. }
            if is_misaligned(*offset, *stride, *format) =>
        {
            let message = format!("offset {offset} or stride {stride} is no multiple of a pixel's size");
            pool.post_error(wl_shm::Error::InvalidStride, message);
            Err(Refused)
        }
        _ => Ok(()),
    }
}

guard!(WlShm, () => ShmState, check check_shm, creates wl_shm::Request::CreatePool => Counted::Pool);
guard!(WlShmPool, ShmPoolUserData => ShmState, check check_pool, creates wl_shm_pool::Request::CreateBuffer => Counted::Buffer; counted Counted::Pool);
guard!(WlBuffer, ShmBufferUserData => ShmState; counted Counted::Buffer);
delegate_global_dispatch!(State: [WlShm: ()] => ShmState);
