//! The compositor: [`State`] joins all components.
//!
//! Components own their data and never see `State`. What a component wants from others it returns
//! as effects, or reads through arguments; the methods of `State` in this module apply them.
//! Nothing but `main.rs` and `tests/` imports this module.

mod calibration;
pub mod clients;
pub mod control;
mod control_commands;
pub mod control_jobs;
mod cursor;
pub mod deadline;
mod focus;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod gestures;
pub mod gpu_reset;
mod guards;
pub mod handlers;
pub mod handoff;
pub mod held_start;
pub mod hidden;
#[cfg(any(test, feature = "fuzzing"))]
pub mod in_process;
mod input;
mod input_devices;
pub mod kms;
pub mod late_modes;
pub mod metrics;
pub mod named_displays;
pub mod notices;
pub mod output_color;
pub mod output_commit;
pub mod output_config;
pub mod output_power;
pub mod output_transaction;
mod pads;
pub mod pageflip_watchdog;
pub mod pens;
pub mod power;
pub mod programs;
pub mod redraw;
pub mod render_gpu;
mod replug;
pub mod run;
pub mod scene;
mod shell;
mod shortcuts;
mod touch;
pub mod user_profile;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use geom_ipc::Event as IpcEvent;
use smithay::input::{Seat, SeatState};
use smithay::reexports::calloop::{LoopHandle, RegistrationToken};
use smithay::reexports::wayland_server::{Display, DisplayHandle};
use smithay::utils::{Clock, Monotonic};
use tracing::info;

use self::deadline::Deadline;
pub(crate) use self::notices::notify_user;
use self::notices::Notices;
use crate::backend::kms::Kms;
use crate::backend::Backend;
use crate::cli::options::Options;
use crate::clients::saved_state::StateFile;
use crate::clients::Clients;
use crate::compositor::handlers::Protocols;
use crate::config::{use_system_keyboard, Config, Keyboard, Problem};
use crate::control::Control;
use crate::event_loop::reactor::Reactor;
use crate::event_loop::timers::{Timer, Timers};
use crate::input::{report_unknown_layout, set_locks, xkb_config, Input, KeymapNames};
use crate::output::color::OutputColor;
use crate::output::outputs::Outputs;
use crate::output::redraw::Event as RedrawEvent;
use crate::output::requests::OutputRequests;
use crate::output::OutputId;
use crate::power::Power;
use crate::session::fd_store::FdStore;
use crate::session::spawn::Programs;
use crate::session::user_profile::ActiveProfile;
use crate::shell::{Shell, SurfaceAt};

/// The files that have changed and whose reading waits for a timer.
#[derive(Default)]
struct ReloadTimers {
    profile: bool,
    config: bool,
}

/// The state that the event loop passes to its callbacks.
pub struct State {
    /// The Wayland library's state; borrowed only while requests of one client are dispatched.
    pub display: Rc<RefCell<Display<State>>>,
    pub display_handle: DisplayHandle,
    pub handle: LoopHandle<'static, State>,
    pub reactor: Reactor,
    pub timers: Timers<Deadline>,
    /// Redraw events to process in this iteration, after everything that has arrived is dispatched.
    pub pending_redraws: VecDeque<(OutputId, RedrawEvent)>,
    pub clock: Clock<Monotonic>,
    /// See [`State::iteration_start`].
    pub iteration_began: Option<Duration>,
    /// Event loop iterations since the start.
    pub iteration: u64,
    pub options: Options,
    pub config: Config,
    pub config_path: Option<PathBuf>,
    pub protocols: Protocols,
    pub seat_state: SeatState<State>,
    pub seat: Seat<State>,
    pub outputs: Outputs,
    pub shell: Shell,
    pub input: Input,
    pub clients: Clients,
    pub control: Control,
    pub store: FdStore,
    /// What survives a crash. `None` if there is no place to keep it.
    pub state_file: Option<StateFile>,
    pub backend: Backend,
    pub notices: Notices,
    /// Consecutive reconfigurations that failed because we are not DRM master.
    pub master_retries: u32,
    /// Requests of control clients and tools for displays.
    pub requests: OutputRequests,
    pub color: OutputColor,
    /// The timer of the night light's next step.
    pub night_light_timer: Option<Timer>,
    /// A reconfiguration is queued because a fullscreen window came or went.
    pub fullscreen_change_queued: bool,
    /// Something changed that may decide who has the keyboard or the pointer.
    pub focus_refresh_pending: bool,
    pub pointer_refresh_pending: bool,
    /// The keyboard has another focus, which pads follow.
    pub pad_refresh_pending: bool,
    /// The window that has the keyboard, as published.
    pub focused_window: Option<u64>,
    /// What the pointer was sent to last, and where that was.
    pub pointer_entered: Option<SurfaceAt>,
    calibration: Option<calibration::RunningCalibration>,
    /// The timer that hides the cursor.
    cursor_timer: Option<Timer>,
    /// The timer of a finger that rests.
    long_press_timer: Option<Timer>,
    /// Windows may have been hidden or shown in this iteration.
    pub visibility_changed: bool,
    pub late_modes: late_modes::LateModes,
    /// The timer of frame callbacks for hidden surfaces is armed.
    pub hidden_frames_armed: bool,
    pub profile: ActiveProfile,
    /// The watch on the profile's file.
    profile_watch: Option<RegistrationToken>,
    config_watch: Option<RegistrationToken>,
    reload_timers: ReloadTimers,
    pub power: Power,
    /// The timer of the page-flip watchdog is armed.
    pub pageflip_watchdog_armed: bool,
    /// Changes between powered and blanked that the kernel was too busy for are tried again.
    pub power_retry_armed: bool,
    pub metrics: metrics::MetricsFile,
    /// Running programs of `--exec` and of shortcuts.
    pub programs: Programs,
    /// Programs that wait for the driver of the GPU.
    pub held_start: Option<held_start::HeldStart>,
    pub started: Duration,
    /// Frames shown on all outputs.
    pub frames: u64,
    /// Why the service ends, if that is an error.
    pub failure: Option<String>,
    stopping: bool,
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
        let mut notices = Notices::default();
        let mut names = KeymapNames::from(keyboard);
        let added = seat.add_keyboard(xkb_config(keyboard), keyboard.repeat_delay, keyboard.repeat_rate);
        if let Err(error) = added {
            notices.add(report_unknown_layout(&keyboard.layout, &error, "the default (us)"));
            let standard = Keyboard { layout: "us".into(), ..Keyboard::default() };
            names = KeymapNames::from(&standard);
            seat.add_keyboard(xkb_config(&standard), keyboard.repeat_delay, keyboard.repeat_rate)
                .context("xkb has no keyboard layouts; install the package xkb-data")?;
        }
        let mut input = Input::new(&config);
        input.devices.set_default_keymap(names);
        if let Some(keyboard) = seat.get_keyboard() {
            set_locks(&keyboard, false, config.keyboard.num_lock);
            input.set_lamps(keyboard.led_state().into());
        }
        let mut clients = Clients::default();
        clients.attach(&display_handle);
        clients.set_max_objects(config.clients.objects.objects);
        let state = Self {
            protocols: Protocols::new(&display_handle),
            display: Rc::new(RefCell::new(display)),
            display_handle,
            handle,
            reactor,
            timers: Timers::default(),
            pending_redraws: VecDeque::new(),
            iteration_began: None,
            iteration: 0,
            clock: Clock::new(),
            options,
            config,
            config_path,
            seat_state,
            seat,
            outputs: Outputs::default(),
            shell: Shell::default(),
            input,
            clients,
            control: Control::default(),
            store: FdStore::default(),
            state_file: None,
            backend: Backend::None,
            notices,
            master_retries: 0,
            requests: OutputRequests::default(),
            color: OutputColor::default(),
            night_light_timer: None,
            fullscreen_change_queued: false,
            focus_refresh_pending: false,
            pointer_refresh_pending: false,
            pad_refresh_pending: false,
            focused_window: None,
            pointer_entered: None,
            calibration: None,
            cursor_timer: None,
            long_press_timer: None,
            visibility_changed: false,
            late_modes: late_modes::LateModes::default(),
            hidden_frames_armed: false,
            profile: ActiveProfile::default(),
            profile_watch: None,
            config_watch: None,
            reload_timers: ReloadTimers::default(),
            power: Power::default(),
            started: Clock::<Monotonic>::new().now().into(),
            pageflip_watchdog_armed: false,
            power_retry_armed: false,
            metrics: metrics::MetricsFile::default(),
            programs: Programs::new(rustix::process::getrlimit(rustix::process::Resource::Nofile)),
            held_start: None,
            frames: 0,
            failure: None,
            stopping: false,
        };
        Ok(state)
    }

    /// Returns the time of the monotonic clock, which the kernel also uses for page flip events.
    pub fn now(&self) -> Duration {
        self.clock.now().into()
    }

    /// Returns the time at which this iteration of the event loop first asked. It is exact enough
    /// for decisions about frames, and saves a system call on kernels whose vDSO has no clock.
    pub fn iteration_start(&mut self) -> Duration {
        match self.iteration_began {
            Some(time) => time,
            None => {
                let now = self.now();
                self.iteration_began = Some(now);
                now
            }
        }
    }

    /// Reports mistakes in the configuration in the log, as notices and as events.
    pub fn report(&mut self, problems: &[Problem]) {
        for problem in problems {
            notify_user!(self, "{problem}");
            self.publish_event(&IpcEvent::ConfigError { message: problem.to_string() });
        }
    }

    /// Reads the configuration file again: valid settings apply, mistakes are reported.
    pub fn reload(&mut self) {
        self.reload_timers.config = false;
        // Before it is read: a change during the reading is noticed.
        self.watch_config();
        let Some(path) = self.config_path.clone() else { return };
        let (config, problems) = crate::config::load(&path);
        let prefix = path.display().to_string();
        self.notices.dismiss(|text| text.starts_with(&prefix));
        self.report(&problems);
        if let Some(mut config) = config {
            info!(file = %path.display(), "configuration applied");
            self.options.override_config(&mut config);
            use_system_keyboard(&mut config.keyboard);
            let keyboard = std::mem::replace(&mut self.config, config).keyboard;
            self.update_renderers();
            self.clients.set_max_objects(self.config.clients.objects.objects);
            self.set_socket_modes();
            self.color.icc_files.forget();
            self.discard_requests();
            self.publish_event(&IpcEvent::ConfigApplied);
            if let Backend::Headless(headless) = &mut self.backend {
                headless.set_modes(&self.config.headless);
            }
            self.start_metrics();
            self.read_power();
            self.reconfigure_input(&keyboard);
            self.with_kms(Kms::set_overrides);
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
            self.run_clients(Clients::disconnect_all);
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
