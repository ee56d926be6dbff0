//! The whole state, and what belongs to no room alone: the log of troubles, the end.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use geom_ipc::Event as IpcEvent;
use smithay::input::{Seat, SeatState};
use smithay::reexports::calloop::LoopHandle;
use smithay::reexports::input::Device;
use smithay::reexports::wayland_server::{Display, DisplayHandle};
use smithay::utils::{Clock, Monotonic};
use tracing::{info, warn};

use crate::backend::Backend;
use crate::clients::kept::Keeper;
use crate::clients::Clients;
use crate::config::{Config, Problem};
use crate::control::confirm::Unconfirmed;
use crate::display::moves::Who;
use crate::display::plan::Wish;
use crate::display::screens::Screens;
use crate::follow::Memory;
use crate::input::devices::xkb;
use crate::input::keys::Chord;
use crate::input::pointer::PointerState;
use crate::options::Options;
use crate::power::Power;
use crate::protocols::Protocols;
use crate::reactor::Reactor;
use crate::scanout::redraw::Event as RedrawEvent;
use crate::session::profile::ActiveProfile;
use crate::session::store::Store;
use crate::shell::Shell;
use crate::timers::{Timer, Timers};
use crate::tuning::Tuning;

/// What went wrong lately, for the diagnostic screen.
#[derive(Debug, Default)]
pub struct Troubles(VecDeque<String>);

impl Troubles {
    const MOST: usize = 6;

    pub fn add(&mut self, text: String) {
        if self.0.contains(&text) {
            return;
        }
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(text);
    }

    /// Forgets those that `stale` names.
    pub fn retire(&mut self, stale: impl Fn(&str) -> bool) {
        self.0.retain(|text| !stale(text));
    }

    pub fn recent(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// Warns of something, and keeps it for the diagnostic screen. As a macro: events tell where they come from.
macro_rules! trouble {
    ($state:expr, $($text:tt)+) => {{
        let text = format!($($text)+);
        tracing::warn!("{text}");
        $state.troubles.add(text);
    }};
}
pub(crate) use trouble;

/// Everything that the event loop hands to its callbacks.
pub struct State {
    /// The Wayland library's state; borrowed only while requests of one client are read.
    pub display: Rc<RefCell<Display<State>>>,
    pub display_handle: DisplayHandle,
    pub handle: LoopHandle<'static, State>,
    pub reactor: Reactor,
    pub timers: Timers<State>,
    /// Displays whose redraw goes on in this turn, when all that has arrived was read.
    pub due: VecDeque<(String, RedrawEvent)>,
    pub clock: Clock<Monotonic>,
    /// See [`State::turn_time`].
    pub turn_began: Option<Duration>,
    /// Turns since the start.
    pub turn: u64,
    pub options: Options,
    pub config: Config,
    pub config_path: Option<PathBuf>,
    pub protocols: Protocols,
    pub seat_state: SeatState<State>,
    pub seat: Seat<State>,
    pub screens: Screens,
    pub shell: Shell,
    pub pointer: PointerState,
    pub devices: Vec<Device>,
    pub exit_chord: Option<Chord>,
    pub clients: Clients,
    pub store: Store,
    /// None where nothing is to outlive us.
    pub keeper: Option<Keeper>,
    pub backend: Backend,
    pub troubles: Troubles,
    /// How often in a row the road ended without being DRM master.
    pub denials: u32,
    /// What control clients wish of displays, over the configuration, until that is read again.
    pub overrides: BTreeMap<String, Wish>,
    /// By display.
    pub unconfirmed: BTreeMap<String, Unconfirmed>,
    /// What is remembered of monitors whose connector is another's now.
    pub away: BTreeMap<Who, Memory>,
    /// The ways to connectors, also those that are gone.
    pub ports: BTreeMap<String, String>,
    pub tuning: Tuning,
    pub profile: ActiveProfile,
    pub power: Power,
    /// A timer looks for page flips that do not come.
    pub watching_flips: bool,
    /// The next writing of figures, and whether the last one failed.
    pub metrics_timer: Option<Timer>,
    pub metrics_failed: bool,
    pub started: Duration,
    /// Frames shown on all displays.
    pub frames: u64,
    /// Control requests that are answered when the first is: connection and request.
    pub frame_awaited: Vec<(u64, u64)>,
    /// Why the service ends, where it is an error.
    pub failure: Option<String>,
    stopping: bool,
    /// Clients were asked to leave, and the service ends when they have.
    pub leaving: bool,
}

impl State {
    pub fn new(
        display: Display<State>,
        handle: LoopHandle<'static, State>,
        reactor: Reactor,
        options: Options,
        config: Config,
        config_path: Option<PathBuf>,
    ) -> Result<Self> {
        let display_handle = display.handle();
        let mut seat_state = SeatState::new();
        let mut seat = seat_state.new_wl_seat(&display_handle, "seat0");
        let keyboard = &config.keyboard;
        let mut troubles = Troubles::default();
        let added = seat.add_keyboard(xkb(keyboard), keyboard.repeat_delay, keyboard.repeat_rate);
        if let Err(error) = added {
            warn!(%error, layout = keyboard.layout, "xkb knows no such keyboard; using the US layout");
            troubles.add(format!(
                "keyboard layout {:?} is unknown to xkb; see [keyboard] in the configuration",
                keyboard.layout
            ));
            let standard = Config::default().keyboard;
            seat.add_keyboard(xkb(&standard), keyboard.repeat_delay, keyboard.repeat_rate)
                .context("xkb has no keyboard layouts; install the package xkb-data")?;
        }
        let pointer = PointerState::new(&config.cursor_theme, config.cursor_size);
        let mut state = Self {
            protocols: Protocols::new(&display_handle),
            display: Rc::new(RefCell::new(display)),
            display_handle,
            handle,
            reactor,
            timers: Timers::default(),
            due: VecDeque::new(),
            turn_began: None,
            turn: 0,
            clock: Clock::new(),
            options,
            config,
            config_path,
            seat_state,
            seat,
            screens: Screens::default(),
            shell: Shell::default(),
            pointer,
            devices: Vec::new(),
            exit_chord: None,
            clients: Clients::default(),
            store: Store::default(),
            keeper: None,
            backend: Backend::None,
            troubles,
            denials: 0,
            overrides: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            away: BTreeMap::new(),
            ports: BTreeMap::new(),
            tuning: Tuning::default(),
            profile: ActiveProfile::default(),
            power: Power::default(),
            started: Clock::<Monotonic>::new().now().into(),
            watching_flips: false,
            metrics_timer: None,
            metrics_failed: false,
            frames: 0,
            frame_awaited: Vec::new(),
            failure: None,
            stopping: false,
            leaving: false,
        };
        state.read_exit_chord();
        Ok(state)
    }

    /// Time of the monotonic clock, as page flips are stamped.
    pub fn now(&self) -> Duration {
        self.clock.now().into()
    }

    /// The time at which this turn of the loop first asked: near enough for deciding about
    /// frames, and a system call less on kernels whose vDSO has no clock.
    pub fn turn_time(&mut self) -> Duration {
        match self.turn_began {
            Some(time) => time,
            None => {
                let now = self.now();
                self.turn_began = Some(now);
                now
            }
        }
    }

    fn read_exit_chord(&mut self) {
        match Chord::new(&self.config.exit_keys) {
            Ok(chord) => self.exit_chord = chord,
            Err(error) => {
                trouble!(self, "{error}");
            }
        }
    }

    /// Reports mistakes of the configuration in the log and on the diagnostic screen.
    pub fn report(&mut self, problems: &[Problem]) {
        for problem in problems {
            trouble!(self, "{problem}");
            self.publish_event(&IpcEvent::ConfigError { message: problem.to_string() });
        }
    }

    /// The configuration file changed: what of it is sound applies, the rest is reported.
    pub fn reload(&mut self) {
        let Some(path) = self.config_path.clone() else { return };
        let (config, problems) = crate::config::load(&path);
        let prefix = path.display().to_string();
        self.troubles.retire(|text| text.starts_with(&prefix));
        self.report(&problems);
        if let Some(mut config) = config {
            info!(file = %path.display(), "configuration applied");
            self.options.override_config(&mut config);
            self.config = config;
            self.forget_profiles();
            self.forget_changes();
            self.publish_event(&IpcEvent::ConfigApplied);
            if let Backend::Headless(headless) = &mut self.backend {
                headless.set_modes(&self.config.headless);
            }
            self.read_exit_chord();
            self.start_metrics();
            self.read_power();
            self.reconfigure_input();
            self.reconfigure("configuration");
            self.place_windows();
        }
        self.redraw_all();
    }

    /// Ends the event loop; the service ends with status 0.
    pub fn stop(&mut self) {
        if !self.stopping {
            self.stopping = true;
            info!("stopping");
            self.dismiss_all();
        }
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Ends the service with status 1 and a message.
    pub fn fail(&mut self, reason: String) {
        self.failure = Some(reason);
        self.stop();
    }
}
