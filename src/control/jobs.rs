//! Requests that take too long for the event loop: they are carried out on threads, a few at a
//! time.

use std::collections::VecDeque;

use geom_ipc::{Error, Response};

use super::command::failed;
use super::screenshot::Screenshot;
use super::upgrade::Candidate;
use crate::clients::control_connection::Ticket;
use crate::clients::ClientId;

/// The maximum number of threads.
const MAX_RUNNING: usize = 2;

/// The maximum number of jobs that wait for a thread. A screenshot waits as a whole image, 25 MB
/// for 3840x2160.
const MAX_QUEUED: usize = 4;

/// What to do on a thread.
pub enum Job {
    EncodeScreenshot(Screenshot),
    CheckProgram(Candidate),
    /// A job that a test completes.
    #[cfg(test)]
    Test(std::sync::mpsc::Receiver<()>),
}

/// The result of a job.
#[derive(Debug)]
pub enum JobResult {
    /// The response, and a descriptor to send with it.
    Reply(Result<(Response, Option<std::os::fd::OwnedFd>), Error>),
    /// A program that can replace this one.
    Upgrade(Candidate),
}

impl Job {
    /// Carries out the job. Called on a thread.
    pub fn run(self) -> JobResult {
        match self {
            Self::EncodeScreenshot(screenshot) => JobResult::Reply(screenshot.save()),
            Self::CheckProgram(candidate) => match candidate.check() {
                Ok(()) => JobResult::Upgrade(candidate),
                Err(error) => JobResult::Reply(Err(error)),
            },
            #[cfg(test)]
            Self::Test(done) => {
                let _ = done.recv();
                JobResult::Reply(Ok((Response::Done, None)))
            }
        }
    }
}

/// The request that a job belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub client: ClientId,
    pub request: u64,
    pub ticket: Ticket,
}

/// Jobs that run or wait.
#[derive(Default)]
pub struct Jobs {
    queue: VecDeque<(Origin, Job)>,
    running: usize,
    last_ticket: Ticket,
}

impl Jobs {
    /// Adds a job for a request. [`Jobs::start_next`] follows. A client has one job at a time,
    /// because its next requests wait for it.
    ///
    /// # Errors
    /// If too many wait already.
    pub fn submit(&mut self, client: ClientId, request: u64, job: Job) -> Result<Origin, Error> {
        if self.running >= MAX_RUNNING && self.queue.len() >= MAX_QUEUED {
            return Err(failed("too many such requests are being carried out; try again"));
        }
        self.last_ticket += 1;
        let origin = Origin { client, request, ticket: self.last_ticket };
        self.queue.push_back((origin, job));
        Ok(origin)
    }

    /// Returns a job to start now. [`Jobs::finished`] must follow when it ends.
    pub fn start_next(&mut self) -> Option<(Origin, Job)> {
        if self.running >= MAX_RUNNING {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.running += 1;
        Some(next)
    }

    /// Notes that a job has ended. [`Jobs::start_next`] follows.
    pub fn finished(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Returns whether no job runs.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.running == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job::Test(std::sync::mpsc::channel().1)
    }

    #[test]
    fn jobs_run_in_order_and_few_at_a_time() {
        let mut jobs = Jobs::default();
        let submit =
            |jobs: &mut Jobs, client: u64| jobs.submit(client.into(), 1, job()).map(|origin| origin.ticket);
        let mut running = Vec::new();
        for client in 1..=6 {
            let ticket = submit(&mut jobs, client);
            running.extend(jobs.start_next().map(|(origin, _)| origin.ticket));
            assert_eq!(ticket, Ok(client));
        }
        assert_eq!(running, [1, 2]);
        assert!(submit(&mut jobs, 7).is_err(), "the queue is bounded");
        for next in 3..=6 {
            jobs.finished();
            assert_eq!(jobs.start_next().map(|(origin, _)| origin.ticket), Some(next));
        }
        assert!(jobs.start_next().is_none() && !jobs.is_idle());
        jobs.finished();
        jobs.finished();
        assert!(jobs.is_idle());
        assert_eq!(submit(&mut jobs, 8), Ok(7), "tickets are never used again");
    }
}
