//! The control socket's protocol (`geom-ipc`): programs that command the service and follow what
//! happens.
//!
//! [`session`] reads messages and handles what concerns the session, [`command`] decodes the other
//! requests, [`report`] describes the service, [`turns`] decides whose requests are handled next,
//! and [`jobs`] is what takes too long for the event loop. The compositor carries out the commands.
//! The sockets belong to [`crate::clients`].

pub mod command;
pub mod displays;
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

/// The maximum number of requests that wait for the same.
const MAX_WAITERS: usize = 1024;

/// The maximum number of them that are one client's.
const MAX_WAITERS_PER_CLIENT: usize = 16;

/// Requests that wait for the same event: connection and request.
#[derive(Default)]
struct Waiters(Vec<(ClientId, u64)>);

impl Waiters {
    fn add(&mut self, id: ClientId, request: u64) -> Result<(), Error> {
        let own = self.0.iter().filter(|(waiter, _)| *waiter == id).count();
        if own >= MAX_WAITERS_PER_CLIENT || self.0.len() >= MAX_WAITERS {
            return Err(failed("too many such requests wait for their answer"));
        }
        self.0.push((id, request));
        Ok(())
    }
}

/// Requests that are answered later.
#[derive(Default)]
pub struct Control {
    pub jobs: Jobs,
    pub turns: Turns,
    frame_waiters: Waiters,
    profile_waiters: Waiters,
}

impl Control {
    /// Adds a request that is answered when the first frame is shown.
    ///
    /// # Errors
    /// If too many wait already.
    pub fn await_frame(&mut self, id: ClientId, request: u64) -> Result<(), Error> {
        self.frame_waiters.add(id, request)
    }

    /// Returns the requests to answer, now that a frame is shown.
    pub fn frame_shown(&mut self) -> Vec<(ClientId, u64)> {
        std::mem::take(&mut self.frame_waiters.0)
    }

    /// Adds a request that is answered when the profile is read.
    ///
    /// # Errors
    /// If too many wait already.
    pub fn await_profile(&mut self, id: ClientId, request: u64) -> Result<(), Error> {
        self.profile_waiters.add(id, request)
    }

    /// Drops a request of [`Self::await_profile`] that is answered at once.
    pub fn forget_profile(&mut self, id: ClientId, request: u64) {
        self.profile_waiters.0.retain(|waiter| *waiter != (id, request));
    }

    /// Returns the requests to answer, now that the profile is read, or not in time.
    pub fn profile_read(&mut self) -> Vec<(ClientId, u64)> {
        std::mem::take(&mut self.profile_waiters.0)
    }

    /// Drops the requests of a client that is disconnected.
    pub fn client_disconnected(&mut self, id: ClientId) {
        for waiters in [&mut self.frame_waiters, &mut self.profile_waiters] {
            waiters.0.retain(|(waiter, _)| *waiter != id);
        }
        self.turns.remove(id);
        self.jobs.client_disconnected(id);
    }
}
