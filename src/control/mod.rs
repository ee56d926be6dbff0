//! The control socket's protocol (`geom-ipc`): programs that command the service and follow what
//! happens.
//!
//! [`session`] reads messages and handles what concerns the session, [`command`] decodes the other
//! requests, [`report`] describes the service, [`turns`] decides whose requests are handled next,
//! and [`jobs`] is what takes too long for the event loop. The compositor carries out the commands.
//! The sockets belong to [`crate::clients`].

pub mod command;
mod displays;
pub mod jobs;
pub mod report;
pub mod screenshot;
pub mod session;
pub mod turns;
pub mod upgrade;

use geom_ipc::Error;

use self::command::failed;
use self::jobs::Jobs;
use self::turns::Turns;
use crate::clients::ClientId;

/// The maximum number of requests that wait for the first frame.
const MAX_FRAME_WAITERS: usize = 1024;

/// The maximum number of them that are one client's.
const MAX_FRAME_WAITERS_PER_CLIENT: usize = 16;

/// Requests that are answered later.
#[derive(Default)]
pub struct Control {
    pub jobs: Jobs,
    pub turns: Turns,
    /// Requests that wait for the first frame: connection and request.
    frame_waiters: Vec<(ClientId, u64)>,
}

impl Control {
    /// Adds a request that is answered when the first frame is shown.
    ///
    /// # Errors
    /// If too many wait already.
    pub fn await_frame(&mut self, id: ClientId, request: u64) -> Result<(), Error> {
        let own = self.frame_waiters.iter().filter(|(waiter, _)| *waiter == id).count();
        if own >= MAX_FRAME_WAITERS_PER_CLIENT || self.frame_waiters.len() >= MAX_FRAME_WAITERS {
            return Err(failed("too many requests wait for the first frame"));
        }
        self.frame_waiters.push((id, request));
        Ok(())
    }

    /// Returns the requests to answer, now that a frame is shown.
    pub fn frame_shown(&mut self) -> Vec<(ClientId, u64)> {
        std::mem::take(&mut self.frame_waiters)
    }

    /// Drops the requests of a client that is disconnected.
    pub fn client_disconnected(&mut self, id: ClientId) {
        self.frame_waiters.retain(|(waiter, _)| *waiter != id);
        self.turns.remove(id);
        self.jobs.client_disconnected(id);
    }
}
