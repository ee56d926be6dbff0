//! Requests that take too long for the event loop: they are carried out on threads, a few at a
//! time. Those that wait hold nothing but the request: an image of a display is rendered when a
//! thread is free for it.

use std::collections::VecDeque;
use std::path::PathBuf;

use geom_ipc::{Error, Response};

use super::command::{failed, DisplaySettings};
use super::screenshot::Screenshot;
use super::upgrade::Candidate;
use crate::clients::control_connection::Ticket;
use crate::clients::ClientId;
use crate::output::icc_files::{load_icc, IccResult};

/// The maximum number of threads, and of rendered images, of 25 MB for 3840x2160.
const MAX_RUNNING: usize = 2;

/// The maximum number of tasks that wait for a thread.
const MAX_QUEUED: usize = 32;

/// The maximum number of them that are one user's.
const MAX_QUEUED_PER_USER: usize = 8;

/// What to do for a request when a thread is free.
#[derive(Debug, PartialEq)]
pub enum Task {
    /// Rendered in the event loop, and encoded on a thread.
    Screenshot {
        display: String,
    },
    CheckProgram {
        program: PathBuf,
    },
    /// Settings of a display with an ICC profile, which is read on a thread.
    SetDisplay(IccSettings),
}

/// The settings of a display that name an ICC profile.
#[derive(Debug, PartialEq)]
pub struct IccSettings {
    /// As the client wrote it.
    pub display: String,
    pub settings: Box<DisplaySettings>,
    pub icc: PathBuf,
}

impl Task {
    /// Returns whether only the client that has asked for it needs the result.
    pub fn is_for_client(&self) -> bool {
        matches!(self, Self::Screenshot { .. })
    }
}

/// What to do on a thread.
pub enum Job {
    EncodeScreenshot(Screenshot),
    CheckProgram(Candidate),
    ReadIcc(IccSettings),
}

/// The result of a job.
#[derive(Debug)]
pub enum JobResult {
    /// The response, and a descriptor to send with it.
    Reply(Result<(Response, Option<std::os::fd::OwnedFd>), Error>),
    /// A program that can replace this one.
    Upgrade(Candidate),
    /// The ICC profile was read, or cannot be used.
    SetDisplay(IccSettings, IccResult),
}

impl Job {
    /// Carries out the job. Called on a thread, where nothing may panic.
    pub fn run(self) -> JobResult {
        match self {
            Self::EncodeScreenshot(screenshot) => {
                JobResult::Reply(screenshot.encode().map(|(response, fd)| (response, Some(fd))))
            }
            Self::CheckProgram(mut candidate) => match candidate.check() {
                Ok(()) => JobResult::Upgrade(candidate),
                Err(error) => JobResult::Reply(Err(error)),
            },
            Self::ReadIcc(settings) => {
                let result = load_icc(&settings.icc);
                JobResult::SetDisplay(settings, result)
            }
        }
    }
}

/// The request that a job belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    pub client: ClientId,
    pub user: u32,
    pub request: u64,
    pub ticket: Ticket,
}

/// What to start next.
#[derive(Debug, PartialEq)]
pub enum Next {
    Start(Origin, Task),
    /// A screenshot, in the next iteration of the event loop: this one has rendered one already.
    Later,
    /// No task waits, or all threads are busy.
    Nothing,
}

/// Jobs that run, and tasks that wait.
#[derive(Default)]
pub struct Jobs {
    queue: VecDeque<(Origin, Task)>,
    running: usize,
    last_ticket: Ticket,
    /// The iteration of the event loop that last rendered a screenshot.
    rendered_in: Option<u64>,
}

impl Jobs {
    /// Adds a task for a request. [`Jobs::start_next`] follows. A client has one task at a time,
    /// because its next requests wait for it.
    ///
    /// # Errors
    /// If too many wait already.
    pub fn submit(&mut self, client: ClientId, user: u32, request: u64, task: Task) -> Result<Origin, Error> {
        let of_user = self.queue.iter().filter(|(origin, _)| origin.user == user).count();
        if of_user >= MAX_QUEUED_PER_USER || self.queue.len() >= MAX_QUEUED {
            return Err(failed("too many such requests are being carried out; try again"));
        }
        self.last_ticket += 1;
        let origin = Origin { client, user, request, ticket: self.last_ticket };
        self.queue.push_back((origin, task));
        Ok(origin)
    }

    /// Returns a task to start now. [`Jobs::finished`] must follow when it ends.
    pub fn start_next(&mut self, iteration: u64) -> Next {
        if self.running >= MAX_RUNNING {
            return Next::Nothing;
        }
        let Some((_, task)) = self.queue.front() else { return Next::Nothing };
        if matches!(task, Task::Screenshot { .. }) {
            if self.rendered_in == Some(iteration) {
                return Next::Later;
            }
            self.rendered_in = Some(iteration);
        }
        let Some((origin, task)) = self.queue.pop_front() else { return Next::Nothing };
        self.running += 1;
        Next::Start(origin, task)
    }

    /// Notes that a job has ended. [`Jobs::start_next`] follows.
    pub fn finished(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Drops the screenshots of a client that is disconnected. Other requests stand.
    pub fn client_disconnected(&mut self, client: ClientId) {
        self.queue.retain(|(origin, task)| origin.client != client || !task.is_for_client());
    }

    /// Returns whether no job runs or waits.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.queue.is_empty()
    }

    /// Returns the number of jobs that run.
    #[cfg(test)]
    pub fn running(&self) -> usize {
        self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Task {
        Task::CheckProgram { program: "/bin/true".into() }
    }

    fn screenshot() -> Task {
        Task::Screenshot { display: "DP-1".into() }
    }

    fn ticket(next: &Next) -> Option<Ticket> {
        match next {
            Next::Start(origin, _) => Some(origin.ticket),
            Next::Later | Next::Nothing => None,
        }
    }

    #[test]
    fn jobs_run_in_order_and_few_at_a_time() {
        let mut jobs = Jobs::default();
        let submit = |jobs: &mut Jobs, client: u64| {
            jobs.submit(client.into(), 7, 1, check()).map(|origin| origin.ticket)
        };
        let mut running = Vec::new();
        for client in 1..=6 {
            assert_eq!(submit(&mut jobs, client), Ok(client));
            running.extend(ticket(&jobs.start_next(1)));
        }
        assert_eq!(running, [1, 2]);
        for next in 3..=6 {
            jobs.finished();
            assert_eq!(ticket(&jobs.start_next(1)), Some(next));
        }
        assert_eq!(jobs.start_next(1), Next::Nothing);
        jobs.finished();
        jobs.finished();
        assert!(jobs.is_idle());
        assert_eq!(submit(&mut jobs, 8), Ok(7), "tickets are never used again");
    }

    #[test]
    fn one_user_does_not_fill_the_queue() {
        let mut jobs = Jobs::default();
        let mut submit = |client: u64, user| jobs.submit(client.into(), user, 1, screenshot()).is_ok();
        assert_eq!((0..100).filter(|client| submit(*client, 1000)).count(), MAX_QUEUED_PER_USER);
        assert!(submit(200, 0));
        let rest = (1..100).filter(|user| submit(*user + 300, *user as u32)).count();
        assert_eq!(rest, MAX_QUEUED - MAX_QUEUED_PER_USER - 1, "the queue is bounded");
    }

    #[test]
    fn one_screenshot_is_rendered_in_an_iteration() -> Result<(), Error> {
        let mut jobs = Jobs::default();
        for client in [1, 2, 3] {
            jobs.submit(client.into(), 7, 1, screenshot())?;
        }
        assert_eq!(ticket(&jobs.start_next(1)), Some(1));
        assert_eq!(jobs.start_next(1), Next::Later);
        assert_eq!(ticket(&jobs.start_next(2)), Some(2));
        jobs.finished();
        assert_eq!(jobs.start_next(2), Next::Later);
        jobs.client_disconnected(3.into());
        assert_eq!(jobs.start_next(3), Next::Nothing);
        Ok(())
    }
}
