//! logind, which tells of sleep, and suspends or switches off on request.
//!
//! Source: org.freedesktop.login1(5); on inhibitors <https://systemd.io/INHIBITOR_LOCKS>. Its answers are events of the loop.

use std::os::fd::OwnedFd;
use std::time::Duration;

use calloop::futures::{executor, Scheduler};
use futures_lite::StreamExt;
use tracing::{debug, info, warn};

use crate::config::{Policy, PowerConfig};
use crate::compositor::deadline::Deadline;
use crate::compositor::{notify_user, State};

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1",
    gen_blocking = false
)]
trait Manager {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<zbus::zvariant::OwnedFd>;
    fn suspend(&self, interactive: bool) -> zbus::Result<()>;
    fn power_off(&self, interactive: bool) -> zbus::Result<()>;
    #[zbus(signal)]
    fn prepare_for_sleep(&self, start: bool) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Session",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1/session/auto",
    gen_blocking = false
)]
trait Session {
    fn set_idle_hint(&self, idle: bool) -> zbus::Result<()>;
}

/// What comes of questions and of waiting.
enum LogindEvent {
    Connected(Box<(Connected, PrepareForSleepStream)>),
    Away(zbus::Error),
    Sleep {
        begins: bool,
        stream: Box<PrepareForSleepStream>,
    },
    /// The bus is gone.
    Ended,
    Delayed(zbus::Result<OwnedFd>),
    Held {
        what: String,
        result: zbus::Result<OwnedFd>,
    },
    Did {
        what: &'static str,
        result: zbus::Result<()>,
    },
}

struct Connected {
    manager: ManagerProxy<'static>,
    session: SessionProxy<'static>,
}

/// The way to it.
pub(super) struct Logind {
    scheduler: Scheduler<LogindEvent>,
    connected: Option<Connected>,
    /// The system's sleep waits while we have this.
    delay: Option<OwnedFd>,
    /// What logind leaves to us while we have this.
    held: Option<(String, OwnedFd)>,
    /// Connections that failed in a row.
    failures: u32,
    /// So often it would not leave something to us.
    refusals: u32,
}

/// At boot the bus may come after us; what is not there after two minutes does not come.
const TRIES: u32 = 7;

/// polkit allows more to a session that is the active one of its seat, which ours may not be yet.
const ASKED: u32 = 4;

const WHO: &str = "geom_compositor";

async fn connect() -> LogindEvent {
    let open = async {
        let bus = zbus::Connection::system().await?;
        let manager = ManagerProxy::new(&bus).await?;
        let session = SessionProxy::new(&bus).await?;
        let stream = manager.receive_prepare_for_sleep().await?;
        Ok((Connected { manager, session }, stream))
    };
    open.await.map_or_else(LogindEvent::Away, |opened| LogindEvent::Connected(Box::new(opened)))
}

async fn next(mut stream: Box<PrepareForSleepStream>) -> LogindEvent {
    while let Some(signal) = stream.next().await {
        if let Ok(args) = signal.args() {
            let begins = args.start;
            return LogindEvent::Sleep { begins, stream };
        }
    }
    LogindEvent::Ended
}

async fn inhibit(manager: ManagerProxy<'static>, what: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd> {
    Ok(manager.inhibit(what, WHO, why, mode).await?.into())
}

impl Logind {
    fn manager(&self) -> Option<ManagerProxy<'static>> {
        self.connected.as_ref().map(|connected| connected.manager.clone())
    }

    fn schedule(&self, future: impl std::future::Future<Output = LogindEvent> + 'static) {
        if self.scheduler.schedule(future).is_err() {
            debug!("logind is not asked: the loop ends");
        }
    }

    /// Asks that sleep waits until we are still.
    fn delay_sleep(&self) {
        let Some(manager) = self.manager() else { return };
        self.schedule(async {
            LogindEvent::Delayed(inhibit(manager, "sleep", "displays are to be still", "delay").await)
        });
    }
}

impl State {
    pub fn connect_logind(&mut self) {
        if self.power.logind.is_none() {
            let Ok((source, scheduler)) = executor::<LogindEvent>() else { return };
            if self.handle.insert_source(source, |told, (), state| state.on_logind_event(told)).is_err() {
                return;
            }
            self.power.logind = Some(Logind {
                scheduler,
                connected: None,
                delay: None,
                held: None,
                failures: 0,
                refusals: 0,
            });
        }
        if let Some(logind) = &self.power.logind {
            logind.schedule(connect());
        }
    }

    fn on_logind_event(&mut self, told: LogindEvent) {
        let Some(logind) = &mut self.power.logind else { return };
        match told {
            LogindEvent::Connected(opened) => {
                let (connected, stream) = *opened;
                debug!("on the system bus");
                logind.connected = Some(connected);
                logind.delay_sleep();
                logind.schedule(next(Box::new(stream)));
                self.hold_switches();
            }
            LogindEvent::Away(error) => {
                logind.failures += 1;
                if logind.failures < TRIES {
                    debug!(%error, "no system bus yet");
                    let delay = Duration::from_secs(1 << logind.failures);
                    let at = self.now() + delay;
                    self.timers.at(at, Deadline::ConnectLogind);
                    return;
                }
                info!(%error, "no system bus: logind's word of sleep is not heard");
                let PowerConfig { lid, power_button, .. } = self.config.power;
                if [lid, power_button]
                    .iter()
                    .any(|policy| matches!(policy, Policy::Suspend | Policy::PowerOff))
                {
                    self.notices.add(format!(
                        "[power] wants logind, and there is no system bus: {error}; start dbus and systemd-logind or elogind"
                    ));
                }
            }
            LogindEvent::Sleep { begins, stream } => {
                logind.schedule(next(stream));
                if begins {
                    self.prepare_for_sleep();
                    // It goes on now.
                    if let Some(logind) = &mut self.power.logind {
                        logind.delay = None;
                    }
                } else {
                    logind.delay_sleep();
                    self.resume_from_sleep("logind");
                }
            }
            LogindEvent::Ended => {
                warn!("the system bus is gone; connecting again");
                (logind.connected, logind.delay, logind.held) = (None, None, None);
                logind.failures = 0;
                if self.backend.is_asleep() {
                    self.resume_from_sleep("the bus went");
                }
                let at = self.now() + Duration::from_secs(1);
                self.timers.at(at, Deadline::ConnectLogind);
            }
            LogindEvent::Delayed(Ok(lock)) => {
                logind.failures = 0;
                logind.delay = Some(lock);
                debug!("sleep waits for us");
            }
            LogindEvent::Delayed(Err(error)) => {
                info!(%error, "logind does not have its sleep wait for us; it is heard of all the same");
            }
            LogindEvent::Held { what, result: Ok(lock) } => {
                info!(what, "logind leaves it to us");
                logind.held = Some((what, lock));
                logind.refusals = 0;
            }
            LogindEvent::Held { what, result: Err(error) } => {
                logind.refusals += 1;
                if logind.refusals < ASKED {
                    debug!(what, %error, "logind does not leave it to us yet");
                    let delay = Duration::from_secs(1 << logind.refusals);
                    let at = self.now() + delay;
                    self.timers.at(at, Deadline::HoldSwitches);
                    return;
                }
                notify_user!(self, "logind acts on {what} beside [power]: {error}. Tell it not to (logind.conf: HandleLidSwitch=ignore, HandlePowerKey=ignore), or install polkit, which allows it to a session at the machine");
            }
            LogindEvent::Did { what, result: Ok(()) } => debug!(what, "logind did"),
            LogindEvent::Did { what, result: Err(error) } => {
                notify_user!(self, "logind does not {what}: {error}");
            }
        }
    }

    /// The seat is ours again.
    pub fn ask_logind_again(&mut self) {
        if let Some(logind) = &mut self.power.logind {
            logind.refusals = 0;
            if logind.delay.is_none() && !self.backend.is_asleep() {
                logind.delay_sleep();
            }
        }
        self.hold_switches();
    }

    /// Keeps logind from doing what the configuration has us do.
    pub fn hold_switches(&mut self) {
        let PowerConfig { lid, power_button, .. } = self.config.power;
        let ours = [("handle-lid-switch", lid), ("handle-power-key", power_button)];
        let ours: Vec<&str> =
            ours.iter().filter(|(_, policy)| *policy != Policy::System).map(|(what, _)| *what).collect();
        let what = ours.join(":");
        let Some(logind) = &mut self.power.logind else { return };
        if logind.held.as_ref().is_some_and(|(held, _)| *held == what) {
            return;
        }
        logind.held = None;
        let Some(manager) = logind.manager().filter(|_| !what.is_empty()) else { return };
        logind.schedule(async move {
            let result = inhibit(manager, &what, "the compositor's configuration decides", "block").await;
            LogindEvent::Held { what, result }
        });
    }

    /// Has the system suspended or switched off.
    pub(super) fn ask_logind(&mut self, policy: Policy) {
        let what = if policy == Policy::PowerOff { "power off" } else { "suspend" };
        let logind = self.power.logind.as_ref();
        let Some((logind, manager)) = logind.and_then(|logind| Some((logind, logind.manager()?))) else {
            notify_user!(self, "can't {what}: there is no logind; start dbus and systemd-logind or elogind");
            return;
        };
        logind.schedule(async move {
            let result = match policy {
                Policy::PowerOff => manager.power_off(false).await,
                _ => manager.suspend(false).await,
            };
            LogindEvent::Did { what, result }
        });
    }

    /// For logind.conf's IdleAction=: whether somebody is there.
    pub(super) fn hint_idle(&self, idle: bool) {
        let Some(logind) = &self.power.logind else { return };
        let Some(session) = logind.connected.as_ref().map(|connected| connected.session.clone()) else {
            return;
        };
        logind.schedule(async move {
            if let Err(error) = session.set_idle_hint(idle).await {
                debug!(%error, "logind takes no hint of idleness");
            }
            LogindEvent::Did { what: "hint", result: Ok(()) }
        });
    }
}
