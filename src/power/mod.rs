//! Power: system sleep, idle timers and idle blanking, the lid and the power button.
//!
//! [`Power`] decides and returns [`Effect`]s, which the compositor applies. It reads outputs and
//! the configuration through [`Cx`].

mod held_input;
mod idle;
mod idle_blank;
pub mod logind;
pub mod logind_bus;
pub mod resume_detect;
mod suspend;
mod switches;
#[cfg(test)]
mod tests;
mod unblank_retry;

use std::time::Duration;

pub use held_input::HeldInput;
pub use idle::IdleTimerId;

use crate::config::PowerConfig;
use crate::event_loop::timers::Timer;
use crate::output::outputs::Outputs;

/// What the component reads of others.
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    /// The monotonic clock.
    pub now: Duration,
    pub config: &'a PowerConfig,
    pub outputs: &'a Outputs,
    /// Displays are the machine's monitors, not virtual ones.
    pub is_kms: bool,
    /// Outputs must not be changed: the session is on another VT, or the system sleeps.
    pub is_paused: bool,
    /// The system is about to sleep, or sleeps.
    pub is_asleep: bool,
    pub has_input_devices: bool,
}

/// What the component wants from others. Effects are applied in their order. Displays are named by
/// their connectors.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Blank these enabled displays. [`Power::blank_failed`] is called for those that fail.
    Blank(Vec<String>),
    /// Unblank these enabled displays. [`Power::forget_refused`] is called for those that are
    /// unblanked, and [`Power::unblank_refused`] for those that the kernel refuses.
    Unblank(Vec<String>),
    /// As `Unblank`, by a full output configuration with a modeset of these displays.
    UnblankByModeset(Vec<String>),
    /// Set whether a display that is not enabled is powered when it is enabled.
    SetPendingActive {
        display: String,
        active: bool,
    },
    /// A client's idle timer ran out, or there is input again.
    NotifyIdle {
        timer: IdleTimerId,
        is_idle: bool,
    },
    /// Arm the next idle check, in place of the one that is armed.
    ArmIdleCheck {
        at: Duration,
    },
    Arm {
        deadline: PowerDeadline,
        at: Duration,
    },
    /// Call [`Power::activity`]: after the preceding effects, as it depends on what they change.
    Activity,
    /// Run the output configuration; the text is the cause, for the log.
    Reconfigure(&'static str),
    AskLogind(logind::Request),
    /// Pause rendering: the system is about to sleep.
    PrepareForSleep,
    /// Call [`Power::allow_sleep`]: everything is paused.
    AllowSleep,
    /// Probe and configure all outputs again: the system has slept.
    Resume,
    /// The wall clock was set.
    ClockSet,
    /// Show a message to the user.
    Notice(String),
}

pub type Effects = Vec<Effect>;

/// A timed action of this component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerDeadline {
    /// An idle timer may have run out.
    CheckIdle,
    /// A monitor was plugged in, which counts as input.
    Activity,
    /// Connect to logind again.
    ConnectLogind,
    /// Ask logind again for the lid and the power button.
    HoldSwitches,
    /// Try again to unblank displays that the kernel refused.
    RetryUnblank,
}

/// The state of the component.
#[derive(Default)]
pub struct Power {
    idle: idle::Idle,
    /// The clients' idle timers.
    timers: Vec<(IdleTimerId, idle::IdleTimer)>,
    last_timer: u64,
    /// The idle timer of idle blanking, if that is configured.
    blank_timer: Option<idle::IdleTimer>,
    /// The time of the next idle check.
    idle_check_at: Option<Duration>,
    /// The timer of the next idle check, which the compositor sets when it applies
    /// [`Effect::ArmIdleCheck`].
    idle_check: Option<Timer>,
    blanked: Option<idle_blank::Blanked>,
    refused: unblank_retry::RefusedUnblanks,
    /// Presses that clients do not receive, until they end: those that unblanked displays, and keys
    /// that the compositor takes.
    withheld: Vec<HeldInput>,
    /// The last key whose press unblanked outputs, by its xkb keycode.
    waking_key: Option<u32>,
    /// How long the system had slept in total at the last check.
    slept: Duration,
    is_lid_closed: bool,
    /// The lid is closed over all enabled outputs.
    is_shut: bool,
    logind: logind::Logind,
    /// The connection to logind; `None` with virtual displays.
    bus: Option<logind_bus::Bus>,
}

impl Power {
    /// Applies the configuration, at the start and whenever it changes.
    pub fn configure(&mut self, cx: &Cx<'_>) -> Effects {
        let mut effects = Effects::new();
        self.blank_timer = cx.config.blank_after.map(|timeout| idle::IdleTimer::new(timeout, true));
        if self.blank_timer.is_none() {
            self.unblank_all(cx, &mut effects);
        }
        effects.extend(self.logind.hold_switches(cx));
        self.arm_idle_check(&mut effects);
        effects
    }

    /// The timer of the next idle check is set. Returns the earlier one, to be cancelled.
    pub fn idle_check_armed(&mut self, timer: Timer) -> Option<Timer> {
        self.idle_check.replace(timer)
    }

    /// Uses a connection to logind from now on.
    pub fn set_bus(&mut self, bus: Option<logind_bus::Bus>) {
        self.bus = bus;
    }

    /// Sends a request to logind, if there is a connection.
    pub fn ask_logind(&self, request: logind::Request) {
        if let Some(bus) = &self.bus {
            bus.ask(request);
        }
    }

    /// Handles what the connection to logind has received.
    pub fn on_bus_event(&mut self, event: logind_bus::BusEvent, cx: &Cx<'_>) -> Effects {
        match self.bus.as_mut().map(|bus| bus.receive(event)) {
            Some(event) => self.on_logind(event, cx),
            None => Effects::new(),
        }
    }

    /// Handles an event of logind.
    fn on_logind(&mut self, event: logind::Event, cx: &Cx<'_>) -> Effects {
        self.logind.on(event, cx)
    }

    /// Asks logind again for the lid and the power button.
    pub fn hold_switches(&mut self, cx: &Cx<'_>) -> Effects {
        self.logind.hold_switches(cx).into_iter().collect()
    }

    /// The session is active again: polkit may allow now what it refused before.
    pub fn session_resumed(&mut self, cx: &Cx<'_>) -> Effects {
        self.logind.session_resumed(cx)
    }

    /// Releases the inhibitor that delays the system's sleep.
    pub fn allow_sleep(&mut self) {
        self.logind.allow_sleep();
    }
}
