//! Commands that are carried out on threads: screenshots, and the check of a new version of the
//! program. The event loop does the rest: it renders the image, and replaces the program.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use geom_ipc::{Error, ErrorKind, Response};
use smithay::reexports::calloop::ping::{make_ping, Ping};
use tracing::{error, info};

use super::deadline::Deadline;
use super::State;
use crate::clients::ClientId;
use crate::control::command::{bad_value, failed, not_found};
use crate::control::jobs::{Job, JobResult, Origin};
use crate::control::screenshot::Screenshot;
use crate::control::upgrade::Candidate;
use crate::output::scanout::Target;
use crate::output::Output;
use crate::render::offscreen::{self, RgbImage};
use crate::session::spawn;

/// Wakes the event loop when a thread ends, even by a panic.
struct WakeOnDrop(Ping);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.ping();
    }
}

impl State {
    /// Submits a job for a request of a control client, whose next requests wait for it.
    ///
    /// # Errors
    /// If the job could not be prepared, or too many are waiting.
    pub(super) fn submit_job(
        &mut self,
        id: ClientId,
        number: u64,
        job: Result<Job, Error>,
    ) -> Result<(), Error> {
        let origin = self.control.jobs.submit(id, number, job?)?;
        self.clients.begin_job(id, origin.ticket);
        self.start_jobs();
        Ok(())
    }

    fn start_jobs(&mut self) {
        while let Some((origin, job)) = self.control.jobs.start_next() {
            if let Err(error) = self.start_job(origin, job) {
                let error = failed(format!("cannot start a thread: {error}"));
                self.job_finished(origin, JobResult::Reply(Err(error)));
            }
        }
    }

    fn start_job(&mut self, origin: Origin, job: Job) -> io::Result<()> {
        let (ping, source) = make_ping()?;
        let (sender, receiver) = mpsc::channel();
        let inserted = self.handle.insert_source(source, move |(), (), state: &mut State| {
            let crashed = |_| JobResult::Reply(Err(failed("the request crashed; see the log")));
            let result = receiver.try_recv().unwrap_or_else(crashed);
            state.job_finished(origin, result);
        });
        let token = inserted.map_err(|error| io::Error::other(error.error.to_string()))?;
        let thread = std::thread::Builder::new().name("control job".into()).spawn(move || {
            let _wake = WakeOnDrop(ping);
            // The receiver is gone if the service stops.
            let _ = sender.send(job.run());
        });
        if let Err(error) = thread {
            self.handle.remove(token);
            return Err(error);
        }
        Ok(())
    }

    /// Handles the result of a job. A client that has left meanwhile gets no reply.
    fn job_finished(&mut self, origin: Origin, result: JobResult) {
        let Origin { client: id, request: number, ticket } = origin;
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
                let Candidate { program, .. } = candidate;
                if is_there {
                    self.reply(id, number, Ok(Response::Done));
                }
                let now = self.now();
                self.timers.at(now, Deadline::ExecNewVersion { program });
            }
        }
        // The thread has reaped its own child process.
        let ended = spawn::reap_missed();
        self.children_ended(ended);
        self.watch_control(id);
        self.start_jobs();
    }

    /// Renders a display, and prepares encoding the image.
    pub(super) fn screenshot_job(&mut self, name: &str, path: Option<PathBuf>) -> Result<Job, Error> {
        let image = self.screenshot(name)?;
        Ok(Job::EncodeScreenshot(Screenshot { image, path }))
    }

    /// Renders what a display shows, cursor included.
    pub fn screenshot(&mut self, name: &str) -> Result<RgbImage, Error> {
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
        if self.backend.is_paused() {
            let cause = self.backend.pause_reason();
            return Err(failed(format!("{cause}; displays show nothing of this service now")));
        }
        self.render_to_image(name).map_err(|error| failed(format!("cannot render {name}: {error}")))
    }

    /// Renders an output's scene into memory.
    pub fn render_to_image(&mut self, name: &str) -> io::Result<RgbImage> {
        let id = self.outputs.id(name).ok_or(io::ErrorKind::NotFound)?;
        let content = self.content_of(id).ok_or(io::ErrorKind::NotFound)?;
        let visible = self.visible_surfaces(content);
        let rendered = self.with_scene(id, visible, |state, scene| {
            let State { outputs, backend, .. } = state;
            let output = outputs.get(id).ok_or(io::ErrorKind::NotFound)?;
            let scanout = output.scanout.as_ref().ok_or(io::ErrorKind::NotFound)?;
            match scanout.target {
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
    pub(super) fn upgrade_job(program: Option<PathBuf>) -> Result<Job, Error> {
        let installed =
            || spawn::own_executable().map_err(|error| bad_value(format!("/proc/self/exe: {error}")));
        let program = program.map_or_else(installed, Ok)?;
        Ok(Job::CheckProgram(Candidate::new(program)))
    }

    /// Replaces this program by a new version, in the same process (execve(2)); it gets what
    /// outlives a crash. Returns only if that fails.
    pub fn exec_new_version(&mut self, program: &Path) {
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
