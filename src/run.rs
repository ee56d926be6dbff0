//! From start to end: builds the state, runs the event loop, says how it ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use rustix::process::Rlimit;
use smithay::reexports::calloop::EventLoop;
use smithay::reexports::wayland_server::Display;
use tracing::{info, warn};

use crate::backend::{headless::Headless, Backend};
use crate::clients::kept::Keeper;
use crate::config::watch::follow;
use crate::config::{self, Config, Problem, RendererWish, DEFAULT_PATH};
use crate::options::{BackendChoice, Options};
use crate::reactor::{Reactor, Source};
use crate::session::descriptors::raise_limit;
use crate::session::store::Store;
use crate::session::{crash, programs, readiness, signals};
use crate::state::{trouble, State};

/// A compositor that is set up, before its loop runs.
pub struct Compositor {
    pub event_loop: EventLoop<'static, State>,
    pub state: State,
    /// What the last wait brought; kept for its memory.
    ready: Vec<Source>,
}

fn read_config(options: &Options) -> (Config, Option<PathBuf>, Vec<Problem>) {
    if options.safe {
        return (Config { renderer: RendererWish::Pixman, ..Config::default() }, None, Vec::new());
    }
    let path = match &options.config {
        Some(path) => path.clone(),
        None if Path::new(DEFAULT_PATH).exists() => DEFAULT_PATH.into(),
        None => return (Config::default(), None, Vec::new()),
    };
    let (config, problems) = config::load(&path);
    // Never refuse to start over a file: the defaults give a picture.
    (config.unwrap_or_default(), Some(path), problems)
}

impl Compositor {
    /// Everything but displays and the listening socket.
    ///
    /// # Errors
    /// Where the system lacks what nothing can stand in for.
    pub fn new(options: Options) -> Result<Self> {
        let event_loop = EventLoop::try_new().context("create the event loop (epoll)")?;
        let display = Display::<State>::new().context("create the Wayland display")?;
        let (mut config, path, problems) = read_config(&options);
        options.override_config(&mut config);
        let handle = event_loop.handle();
        let reactor = Reactor::new().context("create the reactor (epoll, timerfd)")?;
        reactor.add(&event_loop, Source::Calloop).context("watch the event loop")?;
        let mut state = State::new(display, handle.clone(), reactor, options, config, path.clone())?;
        state.report(&problems);
        if !state.options.safe {
            state.start_profile();
        }
        if let Some(path) = path {
            if let Err(error) = follow(&handle, &path, State::reload) {
                warn!(file = %path.display(), %error, "changes of the configuration will not be noticed");
            }
        }
        Ok(Self { event_loop, state, ready: Vec::new() })
    }

    /// Starts the backend that the options name or the machine has.
    ///
    /// # Errors
    /// Without a seat, or where no Gpu may be used.
    pub fn start_backend(&mut self) -> Result<()> {
        let choice = match self.state.options.backend {
            BackendChoice::Auto if !Path::new("/sys/class/drm/version").exists() => BackendChoice::Headless,
            other => other,
        };
        match choice {
            BackendChoice::Headless => {
                info!("no monitors are driven: displays are virtual");
                self.state.backend = Backend::Headless(Headless::new(&self.state.config.headless)?);
                self.state.reconfigure("start");
            }
            BackendChoice::Auto | BackendChoice::Kms => self.state.start_kms()?,
        }
        Ok(())
    }

    /// Waits for something to happen, `most` at the longest, and does what follows from it.
    ///
    /// # Errors
    /// Where waiting itself fails.
    pub fn turn(&mut self, most: Option<Duration>) -> Result<()> {
        let Self { event_loop, state, ready } = self;
        state.reactor.wait(state.timers.next(), most, ready).context("wait for events (epoll)")?;
        state.read_crowd(ready);
        for source in ready.drain(..) {
            match source {
                Source::Calloop => {
                    event_loop.dispatch(Some(Duration::ZERO), state).context("the event loop")?;
                }
                source => state.serve(source),
            }
        }
        state.end_turn();
        Ok(())
    }

    /// Runs until [`State::stop`].
    ///
    /// # Errors
    /// Where the service has to end for a reason that is an error.
    pub fn run(mut self) -> Result<()> {
        // What the start left to draw and to say.
        self.state.end_turn();
        while !self.state.is_stopping() {
            self.turn(None)?;
        }
        self.state.leave_plain();
        self.state.let_go();
        match self.state.failure.take() {
            Some(reason) => bail!(reason),
            None => Ok(()),
        }
    }
}

impl State {
    fn serve(&mut self, source: Source) {
        match source {
            Source::Client(id) => self.read_wayland(id),
            Source::Gpu(id) => self.read_page_flips(id),
            Source::Listener(place) => self.accept(place),
            Source::Timers => {
                self.reactor.timer_ended();
                self.timers_due();
            }
            // Compositor::turn() has the loop.
            Source::Calloop => {}
        }
    }

    /// What is due by the turn's time, which is what actions ask for as well: one of them that finds itself early is set again, and
    /// would be taken again at once by a clock that went on.
    pub fn timers_due(&mut self) {
        let now = self.turn_time();
        while let Some(action) = self.timers.pop(now) {
            action(self);
        }
    }

    /// In a line: what is lit, and the latest trouble.
    pub fn status(&self) -> String {
        let lit = self.screens.lit_names();
        let mode = |name: &String| {
            let mode = self.screens.get(name).and_then(|screen| screen.mode);
            mode.map_or_else(|| name.clone(), |mode| format!("{name} {mode}"))
        };
        let lit: Vec<String> = lit.iter().map(mode).collect();
        let displays = match lit.len() {
            0 => "no display lit".to_owned(),
            count => format!("{count} lit: {}", lit.join(", ")),
        };
        match self.troubles.recent().last() {
            Some(trouble) => format!("{displays}; {trouble}").replace('\n', " "),
            None => displays,
        }
    }

    /// What a crash's report says of displays.
    pub fn note_state(&self) {
        let mut text = self.status();
        for gpu in self.backend.gpus() {
            text += &format!("\n{}: {}, atomic {}", gpu.path.display(), gpu.driver, gpu.atomic);
        }
        for screen in self.screens.iter() {
            let mode = screen.mode.map(|mode| mode.to_string());
            text += &format!(
                "\n{}: {:?} {}, {}",
                screen.name,
                screen.life,
                mode.unwrap_or_default(),
                screen.complaints.join("; ")
            );
        }
        crash::note_state(text);
    }

    /// Tells the service manager again and again that the event loop turns.
    fn feed_watchdog(&mut self, interval: Duration) {
        readiness::alive();
        let at = self.now() + interval;
        self.timers.at(at, move |state| state.feed_watchdog(interval));
    }

    /// The end of each turn: who left is forgotten, what changed is drawn, what was said goes out.
    pub fn end_turn(&mut self) {
        // First, as windows that are gone leave something to draw.
        self.collect_ended();
        self.shell.popups.cleanup();
        while let Some((display, event)) = self.due.pop_front() {
            self.redraw_event(&display, event);
        }
        if let Err(error) = self.display_handle.flush_clients() {
            warn!(%error, "clients can't be written to");
        }
        self.clients.learn_programs();
        self.write_kept();
        // Last: the next turn may be hours away.
        self.turn_began = None;
        self.turn += 1;
    }
}

/// The whole program.
///
/// # Errors
/// What ends it with status 1, in words for a person.
pub fn run(mut options: Options) -> Result<()> {
    let exec = options.exec.clone();
    let descriptors = raise_limit();
    let mut store = Store::inherit(std::process::id(), |name| std::env::var(name).ok());
    let keeper = Keeper::open(&mut store);
    options.safe |= keeper.as_ref().is_ok_and(Keeper::is_safe);
    let mut compositor = Compositor::new(options)?;
    compositor.state.store = store;
    match keeper {
        Ok(keeper) => compositor.state.restore(keeper),
        Err(error) => warn!(%error, "no memory for what should outlive a crash"),
    }
    if let Err(error) = set_out(&mut compositor, exec, descriptors) {
        // What can't start has not crashed.
        compositor.state.let_go();
        return Err(error);
    }
    let ended = compositor.run();
    if ended.is_ok() {
        readiness::stopping();
    }
    ended
}

/// Everything up to the loop.
fn set_out(compositor: &mut Compositor, exec: Vec<String>, descriptors: Rlimit) -> Result<()> {
    signals::listen(&compositor.event_loop.handle())?;
    compositor.state.listen()?;
    // They come up while displays do, and wait at the socket for the first turn.
    let addresses = compositor.state.clients.addresses.clone();
    for command in exec {
        if let Err(error) = programs::start(&command, &addresses, descriptors) {
            trouble!(compositor.state, "{error:#}");
        }
    }
    compositor.start_backend()?;
    if compositor.state.failure.is_none() {
        readiness::ready(&compositor.state.status());
        if let Some(interval) = readiness::interval() {
            compositor.state.feed_watchdog(interval);
        }
        compositor.state.start_metrics();
        compositor.state.start_power();
    }
    Ok(())
}
