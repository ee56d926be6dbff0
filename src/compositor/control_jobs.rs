//! Commands that are carried out on threads: screenshots, reading an ICC profile, and the check of
//! a new version of the program. The event loop does the rest: it renders the image, sets the
//! display, and replaces the program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use geom_ipc::{Error, ErrorKind, Response};
use tracing::{error, info};

use super::deadline::Deadline;
use super::State;
use crate::clients::ClientId;
use crate::control::command::{bad_value, failed, not_found};
use crate::control::jobs::{IccSettings, Job, JobResult, Next, Origin, Task};
use crate::control::screenshot::Screenshot;
use crate::control::upgrade::{Candidate, FileVersion};
use crate::event_loop::background;
use crate::output::scanout::Target;
use crate::output::Output;
use crate::render::offscreen::{self, RgbImage};
use crate::session::spawn;

/// The maximum number of screenshots of a client that it has not received yet. Each has an image in
/// memory that is counted as the service's.
const MAX_UNREAD_SCREENSHOTS: usize = 16;

impl State {
    /// Submits a task for a request of a control client, whose next requests wait for it.
    ///
    /// # Errors
    /// If too many are waiting.
    pub(super) fn submit_task(&mut self, id: ClientId, number: u64, task: Task) -> Result<(), Error> {
        let Some(user) = self.clients.get(id).map(|connection| connection.peer.uid) else { return Ok(()) };
        let origin = self.control.jobs.submit(id, user, number, task)?;
        self.clients.begin_job(id, origin.ticket);
        self.start_jobs();
        Ok(())
    }

    /// Submits a screenshot.
    ///
    /// # Errors
    /// If there is no such display, too many requests are waiting, or the client does not read its
    /// replies: each holds an image in memory.
    pub(super) fn submit_screenshot(
        &mut self,
        id: ClientId,
        number: u64,
        display: String,
    ) -> Result<(), Error> {
        let unread = self.clients.control(id).map_or(0, |control| control.unread_fds());
        if unread >= MAX_UNREAD_SCREENSHOTS {
            return Err(failed("read the replies to earlier requests first"));
        }
        let display = self.enabled_display(&display)?;
        self.submit_task(id, number, Task::Screenshot { display })
    }

    /// Starts the tasks that threads are free for, and one screenshot per iteration at most.
    pub(super) fn start_jobs(&mut self) {
        loop {
            let (origin, task) = match self.control.jobs.start_next(self.iteration) {
                Next::Start(origin, task) => (origin, task),
                Next::Later => {
                    let now = self.iteration_start();
                    self.timers.at(now, Deadline::StartJobs);
                    return;
                }
                Next::Nothing => return,
            };
            let control = self.clients.control(origin.client);
            if task.is_for_client() && !control.is_some_and(|control| control.awaits_job(origin.ticket)) {
                // Its socket is closed, or continues another session.
                self.control.jobs.finished();
                continue;
            }
            let started = self.prepare(task).and_then(|job| {
                let started = self.start_job(origin, job);
                started.map_err(|error| failed(format!("cannot start a thread: {error}")))
            });
            if let Err(error) = started {
                self.job_failed(origin, error);
            }
        }
    }

    /// Does the part of a task that needs the event loop's thread.
    fn prepare(&mut self, task: Task) -> Result<Job, Error> {
        Ok(match task {
            Task::Screenshot { display } => {
                Job::EncodeScreenshot(Screenshot { image: self.screenshot(&display)? })
            }
            Task::CheckProgram { program } => Job::CheckProgram(Candidate::new(program)),
            Task::SetDisplay(settings) => Job::ReadIcc(settings),
        })
    }

    /// Replies to a request whose job could not be started. The caller starts the next one.
    fn job_failed(&mut self, origin: Origin, error: Error) {
        self.control.jobs.finished();
        if self.clients.end_job(origin.client, origin.ticket) {
            self.reply(origin.client, origin.request, Err(error));
        }
        self.watch_control(origin.client);
    }

    fn start_job(&mut self, origin: Origin, job: Job) -> io::Result<()> {
        background::run(
            &self.handle,
            "control job",
            move || job.run(),
            move |state: &mut State, result| state.job_finished(origin, result),
        )
    }

    /// Handles the result of a job. A client that has left meanwhile gets no reply.
    fn job_finished(&mut self, origin: Origin, result: JobResult) {
        let Origin { client: id, request: number, ticket, .. } = origin;
        self.control.jobs.finished();
        let is_there = self.clients.end_job(id, ticket);
        match result {
            JobResult::Reply(Ok((response, fd))) if is_there => {
                let effects = self.clients.reply_with_fd(id, number, response, fd);
                self.apply_client_effects(effects);
            }
            JobResult::Reply(Err(error)) if is_there => self.reply(id, number, Err(error)),
            JobResult::Reply(_) => {}
            // The request stands even if its client has left.
            JobResult::Upgrade(candidate) => {
                let Candidate { program, version, .. } = candidate;
                if is_there {
                    self.reply(id, number, Ok(Response::Done));
                }
                let now = self.now();
                self.timers.at(now, Deadline::ExecNewVersion { program, version });
            }
            // As above.
            JobResult::SetDisplay(IccSettings { display, settings, icc }, profile) => {
                // Nothing uses the profile if there is no such display.
                let result = self.display_named(&display).and_then(|_| {
                    self.color.icc_files.insert(&icc, profile);
                    self.set_display(&display, *settings)
                });
                if is_there {
                    self.reply(id, number, result);
                }
            }
        }
        // The thread has reaped its own child process.
        let ended = spawn::reap_missed();
        self.children_ended(ended);
        self.watch_control(id);
        self.start_jobs();
    }

    /// Returns the connector name of a display that is enabled.
    fn enabled_display(&self, name: &str) -> Result<String, Error> {
        let matching = match self.display_named(name) {
            Ok(matching) => matching,
            Err(error) if error.kind == ErrorKind::BadValue => return Err(error),
            Err(_) => name.to_owned(),
        };
        let name = matching.as_str();
        if !self.outputs.named(name).is_some_and(Output::is_enabled) {
            let enabled = self.outputs.enabled_names().join(", ");
            return Err(not_found(format!("no display {name} is enabled; enabled are: {enabled}")));
        }
        Ok(matching)
    }

    /// Renders what a display shows, cursor included.
    pub fn screenshot(&mut self, name: &str) -> Result<RgbImage, Error> {
        let name = self.enabled_display(name)?;
        let name = name.as_str();
        if self.backend.is_paused() {
            let cause = self.backend.pause_reason();
            return Err(failed(format!("{cause}; displays show nothing of this service now")));
        }
        self.render_to_image(name).map_err(|error| failed(format!("cannot render {name}: {error}")))
    }

    /// Renders an output's scene into memory.
    pub fn render_to_image(&mut self, name: &str) -> io::Result<RgbImage> {
        let id = self.outputs.id(name).ok_or(io::ErrorKind::NotFound)?;
        let content = self.outputs.content_of(id).ok_or(io::ErrorKind::NotFound)?;
        let visible = self.visible_surfaces(content);
        let rendered = self.with_scene(id, visible, |state, scene| {
            let State { outputs, backend, .. } = state;
            let output = outputs.get(id).ok_or(io::ErrorKind::NotFound)?;
            let scanout = output.scanout.as_ref().ok_or(io::ErrorKind::NotFound)?;
            match scanout.target() {
                Target::Memory => {
                    let renderer = backend.memory_renderer().ok_or(io::ErrorKind::NotFound)?;
                    offscreen::draw_in_software(renderer, scene)
                }
                Target::Crtc { gpu, .. } => {
                    let gpu = backend.gpu_mut(gpu).ok_or(io::ErrorKind::NotFound)?;
                    offscreen::draw_on_gpu(&mut gpu.renderer, scene)
                }
            }
        });
        rendered.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    /// Prepares the check of a program that is to replace this one: the given one, or the installed
    /// one.
    pub(super) fn upgrade_task(program: Option<PathBuf>) -> Result<Task, Error> {
        let installed =
            || spawn::own_executable().map_err(|error| bad_value(format!("/proc/self/exe: {error}")));
        let program = program.map_or_else(installed, Ok)?;
        Ok(Task::CheckProgram { program })
    }

    /// Replaces this program by a new version, in the same process (execve(2)); it gets what
    /// outlives a crash. Returns only if that fails.
    pub fn exec_new_version(&mut self, program: &Path, version: Option<FileVersion>) {
        if FileVersion::of(program).ok() != version {
            let program = program.display();
            error!(%program, "program changed since it was checked: not replacing this one");
            self.notices.add(format!("{program} changed while it was checked: not replacing this program"));
            return;
        }
        info!(program = %program.display(), "replacing this program");
        self.clients.mark_unsaved();
        self.write_saved_state();
        if let Some(Err(error)) = self.state_file.as_mut().map(|file| file.set_replaced(true)) {
            error!(%error, "cannot save sessions and placements: not replacing the program");
            return;
        }
        let mut command = Command::new(program);
        command.args(std::env::args_os().skip(1));
        let failure = self.store.exec(&mut command);
        error!(program = %program.display(), error = %failure, "cannot replace this program");
        self.notices.add(format!("{} cannot replace this program: {failure}", program.display()));
        let _ = self.state_file.as_mut().map(|file| file.set_replaced(false));
    }
}
