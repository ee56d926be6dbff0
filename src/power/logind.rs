//! What logind reports and is asked: system sleep, and who acts on the lid and the power button.
//!
//! Pure: requests are effects, answers are events; `logind_bus.rs` exchanges them over D-Bus.
//! Source: org.freedesktop.login1(5); on inhibitors <https://systemd.io/INHIBITOR_LOCKS>.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::{suspend, Cx, Effect, Effects, PowerDeadline};
use crate::config::{Policy, PowerConfig};
use crate::event_loop::backoff::Backoff;

/// A request to logind. [`Event`]s answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Connect to the system bus, and listen for sleep.
    Connect,
    /// Take an inhibitor that delays sleep until outputs are paused.
    DelaySleep,
    /// Take an inhibitor that keeps logind from acting on these switches, as logind names them,
    /// separated by colons.
    HoldSwitches(String),
    Suspend,
    PowerOff,
    /// Set whether the user is idle, for logind.conf's IdleAction=.
    IdleHint(bool),
}

/// An answer or a signal of logind. Errors are messages.
#[derive(Debug)]
pub enum Event {
    Connected,
    ConnectFailed(String),
    /// The connection to the system bus broke.
    Disconnected,
    /// The system is about to sleep (`true`), or has resumed.
    PrepareForSleep(bool),
    /// The inhibitor that delays sleep was granted or refused.
    SleepDelayed(Result<OwnedFd, String>),
    /// The inhibitor of [`Request::HoldSwitches`] was granted or refused.
    SwitchesHeld {
        switches: String,
        result: Result<OwnedFd, String>,
    },
    /// Another request was carried out or refused.
    Done {
        action: &'static str,
        result: Result<(), String>,
    },
}

/// Delays of 2 s to 64 s, 126 s in total. At boot the bus may start after the service; one that is
/// missing after two minutes does not start.
const CONNECT_RETRY: Backoff =
    Backoff::new(Duration::from_secs(2), Duration::from_secs(64)).with_max_retries(6);

/// polkit allows more to the active session of a seat, which ours may not be yet: four requests in
/// 14 s.
const HOLD_RETRY: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(8)).with_max_retries(3);

const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// The state of the conversation with logind.
pub(super) struct Logind {
    is_connected: bool,
    /// The system's sleep waits while this is open.
    sleep_delay: Option<OwnedFd>,
    /// The switches that logind leaves to us while the descriptor is open.
    held: Option<(String, OwnedFd)>,
    connect_retry: Backoff,
    hold_retry: Backoff,
}

impl Default for Logind {
    fn default() -> Self {
        Self {
            is_connected: false,
            sleep_delay: None,
            held: None,
            connect_retry: CONNECT_RETRY,
            hold_retry: HOLD_RETRY,
        }
    }
}

impl Logind {
    /// Returns the effect that sends a request, if logind is there.
    pub(super) fn ask(&self, request: Request) -> Option<Effect> {
        self.is_connected.then_some(Effect::AskLogind(request))
    }

    /// Handles an answer or a signal.
    pub(super) fn on(&mut self, event: Event, cx: &Cx<'_>) -> Effects {
        match event {
            Event::Connected => {
                debug!("connected to logind");
                self.is_connected = true;
                let mut effects: Effects = self.ask(Request::DelaySleep).into_iter().collect();
                effects.extend(self.hold_switches(cx));
                effects
            }
            Event::ConnectFailed(error) => self.connect_failed(&error, cx).into_iter().collect(),
            Event::PrepareForSleep(true) => {
                let mut effects = Effects::new();
                if !cx.is_asleep {
                    info!("system is about to sleep");
                    effects.push(Effect::PrepareForSleep);
                }
                effects.push(Effect::AllowSleep);
                effects
            }
            Event::PrepareForSleep(false) => {
                let mut effects: Effects = self.ask(Request::DelaySleep).into_iter().collect();
                effects.extend(suspend::resume("logind"));
                effects
            }
            Event::Disconnected => {
                warn!("lost the connection to the system bus; connecting again");
                (self.is_connected, self.sleep_delay, self.held) = (false, None, None);
                self.connect_retry.reset();
                let mut effects = Effects::new();
                if cx.is_asleep {
                    // logind cannot report the resume any more.
                    effects.extend(suspend::resume("lost connection to logind"));
                }
                let at = cx.now + RECONNECT_DELAY;
                effects.push(Effect::Arm { deadline: PowerDeadline::ConnectLogind, at });
                effects
            }
            Event::SleepDelayed(Ok(inhibitor)) => {
                debug!("logind delays sleep until outputs are paused");
                self.connect_retry.reset();
                self.sleep_delay = Some(inhibitor);
                Effects::new()
            }
            Event::SleepDelayed(Err(error)) => {
                info!(error, "logind does not delay sleep; it still reports it");
                Effects::new()
            }
            Event::SwitchesHeld { switches, result: Ok(inhibitor) } => {
                info!(switches, "logind leaves switches to [power]");
                self.held = Some((switches, inhibitor));
                self.hold_retry.reset();
                Effects::new()
            }
            Event::SwitchesHeld { switches, result: Err(error) } => {
                vec![self.hold_refused(&switches, &error, cx)]
            }
            Event::Done { action, result: Ok(()) } => {
                debug!(action, "logind carried out a request");
                Effects::new()
            }
            Event::Done { action, result: Err(error) } => {
                vec![Effect::Notice(format!("logind refuses to {action}: {error}"))]
            }
        }
    }

    fn connect_failed(&mut self, error: &str, cx: &Cx<'_>) -> Option<Effect> {
        if let Some(delay) = self.connect_retry.next_delay() {
            debug!(error, ?delay, "cannot connect to logind; retrying");
            return Some(Effect::Arm { deadline: PowerDeadline::ConnectLogind, at: cx.now + delay });
        }
        info!(error, "cannot connect to logind; system sleep is detected only when it ends");
        let PowerConfig { lid, power_button, .. } = cx.config;
        let needs_logind =
            [lid, power_button].iter().any(|policy| matches!(policy, Policy::Suspend | Policy::PowerOff));
        needs_logind.then(|| {
            Effect::Notice(format!(
                "[power] needs logind, and there is no system bus: {error}; start dbus and systemd-logind or elogind"
            ))
        })
    }

    fn hold_refused(&mut self, switches: &str, error: &str, cx: &Cx<'_>) -> Effect {
        if let Some(delay) = self.hold_retry.next_delay() {
            debug!(switches, error, ?delay, "logind does not leave switches to us yet; retrying");
            return Effect::Arm { deadline: PowerDeadline::HoldSwitches, at: cx.now + delay };
        }
        Effect::Notice(format!(
            "logind acts on {switches} in addition to [power]: {error}. Disable its action (logind.conf: \
             HandleLidSwitch=ignore, HandlePowerKey=ignore), or install polkit, which allows the inhibitor to a \
             session at the machine"
        ))
    }

    /// The session is active again: asks for inhibitors that were refused.
    pub(super) fn session_resumed(&mut self, cx: &Cx<'_>) -> Effects {
        self.hold_retry.reset();
        let mut effects = Effects::new();
        if self.sleep_delay.is_none() && !cx.is_asleep {
            effects.extend(self.ask(Request::DelaySleep));
        }
        effects.extend(self.hold_switches(cx));
        effects
    }

    /// Keeps logind from acting on the switches that the configuration gives to us, and leaves the
    /// others to it.
    pub(super) fn hold_switches(&mut self, cx: &Cx<'_>) -> Option<Effect> {
        let PowerConfig { lid, power_button, .. } = cx.config;
        let switches = [("handle-lid-switch", lid), ("handle-power-key", power_button)];
        let ours = switches.iter().filter(|(_, policy)| **policy != Policy::System);
        let ours: Vec<&str> = ours.map(|(switch, _)| *switch).collect();
        let ours = ours.join(":");
        if self.held.as_ref().is_some_and(|(held, _)| *held == ours) {
            return None;
        }
        self.held = None;
        if ours.is_empty() {
            return None;
        }
        self.ask(Request::HoldSwitches(ours))
    }

    /// Suspends the system or powers it off.
    pub(super) fn act(&self, policy: Policy) -> Effect {
        let (request, action) = match policy {
            Policy::PowerOff => (Request::PowerOff, "power off"),
            _ => (Request::Suspend, "suspend"),
        };
        self.ask(request).unwrap_or_else(|| {
            Effect::Notice(format!(
                "cannot {action}: there is no logind; start dbus and systemd-logind or elogind"
            ))
        })
    }

    pub(super) fn allow_sleep(&mut self) {
        self.sleep_delay = None;
    }

    #[cfg(test)]
    pub(super) fn delays_sleep(&self) -> bool {
        self.sleep_delay.is_some()
    }
}
