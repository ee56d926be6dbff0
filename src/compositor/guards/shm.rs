//! wl_shm: sizes of pools, and how many pools and buffers there are.

use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_shm::{self, WlShm};
use smithay::reexports::wayland_server::protocol::wl_shm_pool::{self, WlShmPool};
use smithay::reexports::wayland_server::{delegate_global_dispatch, Client, Resource};
use smithay::wayland::shm::{ShmBufferUserData, ShmPoolUserData, ShmState};

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
        _ => Ok(()),
    }
}

guard!(WlShm, () => ShmState, check check_shm, creates wl_shm::Request::CreatePool => Counted::Pool);
guard!(WlShmPool, ShmPoolUserData => ShmState, check check_pool, creates wl_shm_pool::Request::CreateBuffer => Counted::Buffer; counted Counted::Pool);
guard!(WlBuffer, ShmBufferUserData => ShmState; counted Counted::Buffer);
delegate_global_dispatch!(State: [WlShm: ()] => ShmState);
