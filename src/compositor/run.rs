//! The service from start to end: builds the state, runs the event loop, returns how it ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use geom_kms::discovery;
use smithay::reexports::calloop::EventLoop;
use smithay::reexports::wayland_server::Display;
use tracing::{info, warn};

use crate::backend::{headless::Headless, udev, Backend};
use crate::cli::options::{BackendChoice, Options};
use crate::clients::saved_state::StateFile;
use crate::compositor::deadline::Deadline;
use crate::compositor::user_profile::START_TIMEOUT;
use crate::compositor::State;
use crate::config::{self, Config, Problem, DEFAULT_PATH};
use crate::event_loop::reactor::{Reactor, Source};
use crate::session::fd_store::FdStore;
use crate::session::rlimit::raise_limit;
use crate::session::spawn::Programs;
use crate::session::{crash, sd_notify, signals};

/// A compositor that is set up; its event loop does not run yet.
pub struct Compositor {
    pub event_loop: EventLoop<'static, State>,
    pub state: State,
    /// The sources that the last wait returned; kept to reuse the allocation.
    ready: Vec<Source>,
}

fn read_config(options: &Options) -> (Config, Option<PathBuf>, Vec<Problem>) {
    let path = match &options.config {
        Some(path) => Some(path.clone()),
        None if Path::new(DEFAULT_PATH).exists() => Some(DEFAULT_PATH.into()),
        None => None,
    };
    let (config, problems) = match &path {
        Some(path) => config::load(path),
        None => (None, Vec::new()),
    };
    // A broken file is no reason not to start: the displays work with the defaults.
    let config = config.unwrap_or_default();
    match options.safe {
        // Not watched: another version of the file does not end the safe settings.
        true => (config.to_safe(), None, problems),
        false => (config, path, problems),
    }
}

impl Compositor {
    /// Builds everything but the backend and the listening sockets.
    ///
    /// # Errors
    /// If epoll, timerfd or xkb layouts are not available.
    pub fn new(options: Options) -> Result<Self> {
        let event_loop = EventLoop::try_new().context("create the event loop (epoll)")?;
        let mut display = Display::<State>::new().context("create the Wayland display")?;
        let (mut config, path, problems) = read_config(&options);
        options.override_config(&mut config);
        config::use_system_keyboard(&mut config.keyboard);
        let handle = event_loop.handle();
        let reactor = Reactor::new().context("create the reactor (epoll, timerfd)")?;
        reactor
            .add(display.backend().poll_fd(), Source::Wayland)
            .context("watch the Wayland library's epoll")?;
        reactor.add(&event_loop, Source::Calloop).context("watch the event loop")?;
        let mut state = State::new(display, handle.clone(), reactor, options, config, path.clone())?;
        state.report(&problems);
        let until = state.now() + START_TIMEOUT;
        let icc_files = state.start_icc_files();
        if !state.options.safe {
            state.start_profile();
        }
        state.await_icc_files(icc_files, until);
        state.watch_config();
        Ok(Self { event_loop, state, ready: Vec::new() })
    }

    /// Starts the backend that the options name, or that fits the machine.
    ///
    /// # Errors
    /// Without a seat, or if no GPU can be opened.
    pub fn start_backend(&mut self) -> Result<()> {
        let choice = match self.state.options.backend {
            BackendChoice::Auto if !Path::new("/sys/class/drm/version").exists() => BackendChoice::Headless,
            other => other,
        };
        match choice {
            BackendChoice::Headless => {
                info!("headless backend: all displays are virtual");
                self.state.backend = Backend::Headless(Headless::new(&self.state.config.headless)?);
                self.state.reconfigure("start");
            }
            BackendChoice::Auto | BackendChoice::Kms => self.state.start_kms()?,
        }
        Ok(())
    }

    /// Runs one iteration of the event loop: waits for events, at most for `timeout`, and
    /// dispatches them.
    ///
    /// # Errors
    /// If epoll fails.
    pub fn iterate(&mut self, timeout: Option<Duration>) -> Result<()> {
        let Self { event_loop, state, ready } = self;
        state.reactor.wait(state.timers.next(), timeout, ready).context("wait for events (epoll)")?;
        // Objects of clients that could not be sent anything are destroyed by a dispatch.
        if state.clients.has_ended_clients() && !ready.contains(&Source::Wayland) {
            ready.push(Source::Wayland);
        }
        for source in ready.drain(..) {
            match source {
                Source::Calloop => {
                    event_loop.dispatch(Some(Duration::ZERO), state).context("the event loop")?;
                }
                source => state.dispatch_source(source),
            }
        }
        state.after_dispatch();
        Ok(())
    }

    /// Runs the event loop until [`State::stop`].
    ///
    /// # Errors
    /// If the service ends because of an error.
    pub fn run(mut self) -> Result<()> {
        // Renders and sends what the start has queued.
        self.state.after_dispatch();
        while !self.state.is_stopping() {
            self.iterate(None)?;
        }
        self.state.backend.reset_color_state();
        self.state.discard_saved_state();
        match self.state.failure.take() {
            Some(reason) => bail!(reason),
            None => Ok(()),
        }
    }
}

impl State {
    fn dispatch_source(&mut self, source: Source) {
        match source {
            Source::Wayland => self.dispatch_wayland(),
            Source::Gpu(id) => self.read_page_flips(id),
            Source::Listener(index) => self.accept(index),
            Source::Timers => {
                self.reactor.timer_ended();
                self.run_timers();
            }
            // Dispatched by Compositor::iterate(), which owns the loop.
            Source::Calloop => {}
        }
    }

    /// Returns one line for the service manager: the enabled displays, and the latest notice.
    pub fn status(&self) -> String {
        let names = self.outputs.enabled_names();
        let mode = |name: &String| {
            let mode = self.outputs.named(name).and_then(|output| output.state().mode);
            mode.map_or_else(|| name.clone(), |mode| format!("{name} {mode}"))
        };
        let enabled: Vec<String> = names.iter().map(mode).collect();
        let displays = match enabled.len() {
            0 => "no display enabled".to_owned(),
            count => format!("{count} enabled: {}", enabled.join(", ")),
        };
        match self.notices.recent().last() {
            Some(notice) => format!("{displays}; {notice}").replace('\n', " "),
            None => displays,
        }
    }

    /// Updates the section about displays of a future crash report.
    pub fn note_state(&self) {
        let mut text = self.status();
        for gpu in self.backend.gpus() {
            text += &format!(
                "\n{}: {}, atomic {}",
                gpu.device.path().display(),
                gpu.device.driver(),
                gpu.device.is_atomic()
            );
        }
        for output in self.outputs.iter() {
            let mode = output.state().mode.map(|mode| mode.to_string());
            text += &format!(
                "\n{}: {:?} {}, {}",
                output.name,
                output.lifecycle(),
                mode.unwrap_or_default(),
                output.state().warnings.join("; ")
            );
        }
        crash::note_state(text);
    }

    /// Reports to the service manager's watchdog, and arms the next report.
    pub fn feed_watchdog(&mut self, interval: Duration) {
        sd_notify::alive();
        let at = self.now() + interval;
        self.timers.at(at, Deadline::FeedWatchdog { interval });
    }

    /// Ends an iteration: removes disconnected clients, renders what is due, flushes messages to
    /// clients.
    pub fn after_dispatch(&mut self) {
        // First, because closed windows queue redraws.
        self.reap_ended();
        self.shell.popups.cleanup();
        self.settle_focus();
        // Before frames that show them.
        self.update_hidden();
        while let Some((id, event)) = self.pending_redraws.pop_front() {
            self.redraw_event(id, event);
        }
        if let Err(error) = self.display_handle.flush_clients() {
            warn!(%error, "cannot flush messages to clients");
        }
        self.clients.keep_paused();
        self.clients.identify_new();
        self.write_saved_state();
        // Last, because the next iteration may be hours away.
        self.iteration_began = None;
        self.iteration += 1;
    }
}

/// Runs the service.
///
/// # Errors
/// Why it ends with status 1, as a message for a person.
pub fn run(mut options: Options) -> Result<()> {
    let exec = options.exec.clone();
    let descriptors = raise_limit();
    let mut store = FdStore::inherit(std::process::id(), |name| std::env::var(name).ok());
    let state_file = StateFile::open(&mut store);
    options.safe |= state_file.as_ref().is_ok_and(StateFile::is_safe);
    let mut compositor = Compositor::new(options)?;
    compositor.state.store = store;
    compositor.state.programs = Programs::new(descriptors);
    match state_file {
        Ok(state_file) => compositor.state.restore(state_file),
        Err(error) => {
            warn!(%error, "cannot create the state file: sessions and placements will not survive a crash")
        }
    }
    if let Err(error) = start(&mut compositor, exec) {
        // A failed start does not count as a crash.
        compositor.state.discard_saved_state();
        return Err(error);
    }
    let ended = compositor.run();
    if ended.is_ok() {
        sd_notify::stopping();
    }
    ended
}

/// Starts everything up to the event loop.
fn start(compositor: &mut Compositor, exec: Vec<String>) -> Result<()> {
    let on_terminate = |state: &mut State, signal| {
        info!(?signal, "signal received");
        state.stop();
    };
    signals::listen(&compositor.event_loop.handle(), on_terminate, State::children_ended)?;
    compositor.state.listen()?;
    let awaits_driver = compositor.state.options.backend != BackendChoice::Headless
        && udev::is_settling()
        && !discovery::has_driver();
    let mut held = exec;
    if !awaits_driver {
        // These programs start while displays are configured; their connections wait for the first
        // iteration.
        for command in held.drain(..) {
            compositor.state.start_program(command, &[]);
        }
    }
    compositor.start_backend()?;
    if compositor.state.failure.is_none() {
        match awaits_driver {
            true => compositor.state.hold_start(held),
            false => sd_notify::ready(&compositor.state.status()),
        }
        if let Some(interval) = sd_notify::watchdog_interval() {
            compositor.state.feed_watchdog(interval);
        }
        compositor.state.start_metrics();
        compositor.state.start_power();
    }
    Ok(())
}
