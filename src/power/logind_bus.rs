//! The D-Bus connection to logind. Requests run as futures in the event loop; their answers are
//! [`BusEvent`]s.

use std::os::fd::OwnedFd;

use calloop::futures::{executor, Scheduler};
use calloop::LoopHandle;
use futures_lite::StreamExt;
use tracing::debug;

use super::logind::{Event, Request};
use crate::session::logind::system_bus;

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

#[derive(Clone)]
struct Proxies {
    manager: ManagerProxy<'static>,
    session: SessionProxy<'static>,
}

/// What a future returns, for [`Bus::receive`].
pub struct BusEvent(Received);

enum Received {
    Connected(Box<(Proxies, PrepareForSleepStream)>),
    Sleep { start: bool, signals: Box<PrepareForSleepStream> },
    Event(Event),
}

/// The name under which logind lists our inhibitors.
const WHO: &str = "geom_compositor";

async fn connect() -> BusEvent {
    let open = async {
        let bus = system_bus().await?;
        let manager = ManagerProxy::new(&bus).await?;
        let session = SessionProxy::new(&bus).await?;
        let signals = manager.receive_prepare_for_sleep().await?;
        Ok(Box::new((Proxies { manager, session }, signals)))
    };
    let failed = |error: zbus::Error| Received::Event(Event::ConnectFailed(error.to_string()));
    BusEvent(open.await.map_or_else(failed, Received::Connected))
}

async fn next_sleep(mut signals: Box<PrepareForSleepStream>) -> BusEvent {
    while let Some(signal) = signals.next().await {
        if let Ok(args) = signal.args() {
            let start = args.start;
            return BusEvent(Received::Sleep { start, signals });
        }
    }
    BusEvent(Received::Event(Event::Disconnected))
}

async fn inhibit(proxies: &Proxies, what: &str, why: &str, mode: &str) -> Result<OwnedFd, String> {
    let inhibitor = proxies.manager.inhibit(what, WHO, why, mode).await;
    inhibitor.map(OwnedFd::from).map_err(|error| error.to_string())
}

async fn send_request(proxies: Proxies, request: Request) -> Event {
    let done = |action, result: zbus::Result<()>| Event::Done {
        action,
        result: result.map_err(|error| error.to_string()),
    };
    match request {
        Request::Connect => done("connect", Ok(())),
        Request::DelaySleep => {
            Event::SleepDelayed(inhibit(&proxies, "sleep", "outputs have to be paused", "delay").await)
        }
        Request::HoldSwitches(switches) => {
            let why = "the compositor's configuration decides";
            let result = inhibit(&proxies, &switches, why, "block").await;
            Event::SwitchesHeld { switches, result }
        }
        Request::Suspend => done("suspend", proxies.manager.suspend(false).await),
        Request::PowerOff => done("power off", proxies.manager.power_off(false).await),
        Request::IdleHint(idle) => {
            if let Err(error) = proxies.session.set_idle_hint(idle).await {
                debug!(%error, "logind refuses the idle hint");
            }
            done("set the idle hint", Ok(()))
        }
    }
}

/// The connection to the system bus.
pub struct Bus {
    scheduler: Scheduler<BusEvent>,
    proxies: Option<Proxies>,
}

impl Bus {
    /// Adds the executor of requests to the event loop; [`Request::Connect`] connects. `on_event`
    /// gets what [`Bus::receive`] takes. Returns `None` if no file descriptor is left.
    pub fn new<D: 'static>(handle: &LoopHandle<'static, D>, on_event: fn(BusEvent, &mut D)) -> Option<Self> {
        let (source, scheduler) = executor::<BusEvent>().ok()?;
        handle.insert_source(source, move |event, (), data| on_event(event, data)).ok()?;
        Some(Self { scheduler, proxies: None })
    }

    fn schedule(&self, future: impl std::future::Future<Output = BusEvent> + 'static) {
        if self.scheduler.schedule(future).is_err() {
            debug!("request to logind dropped: the event loop ends");
        }
    }

    /// Sends a request. Its answer is an event.
    pub fn ask(&self, request: Request) {
        if request == Request::Connect {
            self.schedule(connect());
        } else if let Some(proxies) = self.proxies.clone() {
            self.schedule(async { BusEvent(Received::Event(send_request(proxies, request).await)) });
        }
    }

    /// Returns what an event says, and listens for the next signal.
    pub fn receive(&mut self, event: BusEvent) -> Event {
        match event.0 {
            Received::Connected(connected) => {
                let (proxies, signals) = *connected;
                self.proxies = Some(proxies);
                self.schedule(next_sleep(Box::new(signals)));
                Event::Connected
            }
            Received::Sleep { start, signals } => {
                self.schedule(next_sleep(signals));
                Event::PrepareForSleep(start)
            }
            Received::Event(event) => {
                if matches!(event, Event::Disconnected) {
                    self.proxies = None;
                }
                event
            }
        }
    }
}
