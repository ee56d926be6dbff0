//! Seats and sessions of logind over D-Bus.
//!
//! Source: org.freedesktop.login1(5).

use std::future::Future;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use futures_lite::StreamExt;
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedObjectPath;
use zbus::{Connection, MatchRule, MessageStream};

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1",
    gen_blocking = false
)]
trait Manager {
    fn get_seat(&self, id: &str) -> zbus::Result<OwnedObjectPath>;
    fn get_session(&self, id: &str) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Seat",
    default_service = "org.freedesktop.login1",
    gen_blocking = false
)]
trait Seat {
    /// The ID and the object path; "" and "/" without an active session.
    #[zbus(property)]
    fn active_session(&self) -> zbus::Result<(String, OwnedObjectPath)>;
}

#[zbus::proxy(
    interface = "org.freedesktop.login1.Session",
    default_service = "org.freedesktop.login1",
    gen_blocking = false
)]
trait Session {
    #[zbus(property)]
    fn active(&self) -> zbus::Result<bool>;
    /// The name of the user.
    #[zbus(property)]
    fn name(&self) -> zbus::Result<String>;
    /// The ID and the object path of the seat; "" and "/" if the session has none.
    #[zbus(property)]
    fn seat(&self) -> zbus::Result<(String, OwnedObjectPath)>;
}

/// The socket of the system bus, unless DBUS_SYSTEM_BUS_ADDRESS names another one (D-Bus
/// Specification, Well-known Message Bus Instances).
const SYSTEM_BUS: &str = "/var/run/dbus/system_bus_socket";

/// Connects to the system bus.
///
/// A device without a bus is asked again several times after the start. Without a look for the
/// socket first, each try would start a thread and wake the service ten times.
///
/// # Errors
/// Without a system bus.
pub async fn system_bus() -> zbus::Result<Connection> {
    if std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS").is_none() && !Path::new(SYSTEM_BUS).exists() {
        return Err(zbus::Error::Failure(format!("no system bus: {SYSTEM_BUS} does not exist")));
    }
    Connection::system().await
}

/// Returns the proxy of a session, which reads each property when it is asked for.
async fn session_at(bus: &Connection, path: OwnedObjectPath) -> zbus::Result<SessionProxy<'static>> {
    SessionProxy::builder(bus).path(path)?.cache_properties(CacheProperties::No).build().await
}

/// A seat whose active session is watched.
pub struct WatchedSeat {
    bus: Connection,
    seat: SeatProxy<'static>,
    changes: MessageStream,
}

impl WatchedSeat {
    /// Connects to the system bus and finds the seat.
    ///
    /// # Errors
    /// Without a system bus, logind or this seat.
    pub async fn on_system_bus(seat: String) -> zbus::Result<Self> {
        Self::new(system_bus().await?, &seat).await
    }

    async fn new(bus: Connection, seat: &str) -> zbus::Result<Self> {
        let path = ManagerProxy::new(&bus).await?.get_seat(seat).await?;
        // No sender: the property is read again after each signal, so that a signal of another
        // program on the bus changes nothing.
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .path(path.clone())?
            .interface("org.freedesktop.DBus.Properties")?
            .member("PropertiesChanged")?
            .build();
        let changes = MessageStream::for_match_rule(rule, &bus, None).await?;
        let seat = SeatProxy::builder(&bus).path(path)?.cache_properties(CacheProperties::No);
        Ok(Self { seat: seat.build().await?, bus, changes })
    }

    /// Returns the name of the active session's user, or `None` without an active session.
    ///
    /// # Errors
    /// If logind does not answer.
    pub async fn active_user(&self) -> zbus::Result<Option<String>> {
        let (id, path) = self.seat.active_session().await?;
        if id.is_empty() {
            return Ok(None);
        }
        // A session that ended meanwhile is no error: the next signal reports its successor.
        let name = session_at(&self.bus, path).await?.name().await;
        Ok(name.ok().filter(|name| !name.is_empty()))
    }

    /// Waits until a property of the seat has changed. Returns false if the bus is gone.
    pub async fn changed(&mut self) -> bool {
        matches!(self.changes.next().await, Some(Ok(_)))
    }
}

/// A login session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginSession {
    /// The ID of its seat, or `None` if it has none (ssh, su).
    pub seat: Option<String>,
    pub is_active: bool,
}

/// Returns the login session with this ID. Blocks for at most `timeout`.
pub fn session(id: String, timeout: Duration) -> Option<LoginSession> {
    let query = async move {
        let bus = system_bus().await?;
        let path = ManagerProxy::new(&bus).await?.get_session(&id).await?;
        let session = session_at(&bus, path).await?;
        let (seat, _) = session.seat().await?;
        let is_active = session.active().await?;
        Ok::<_, zbus::Error>(LoginSession { seat: Some(seat).filter(|seat| !seat.is_empty()), is_active })
    };
    block_on(query, timeout)?.ok()
}

/// Runs a future on a thread and waits for its result, but not longer than `timeout`. Not for the
/// event loop.
pub fn block_on<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
    timeout: Duration,
) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let run = move || {
        // The library starts threads of its own, which inherit the mask. At the start, the event
        // loop may not have blocked these signals yet; one of those threads would then get SIGTERM,
        // and the process would end at once.
        super::signals::block_in_thread();
        // Fails if the receiver has given up.
        let _ = sender.try_send(futures_lite::future::block_on(future));
    };
    std::thread::Builder::new().name("logind".into()).spawn(run).ok()?;
    receiver.recv_timeout(timeout).ok()
}

#[cfg(test)]
pub(super) mod fake {
    //! A logind on a socket pair.

    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    use futures_lite::future;
    use zbus::connection::Builder;
    use zbus::object_server::InterfaceRef;

    use super::*;

    const SEAT: &str = "/org/freedesktop/login1/seat/seat0";

    /// The ID of the active session. "c-NAME" is a session of the user NAME.
    type Active = Arc<Mutex<String>>;

    struct FakeManager;

    #[zbus::interface(name = "org.freedesktop.login1.Manager")]
    impl FakeManager {
        fn get_seat(&self, id: &str) -> zbus::fdo::Result<OwnedObjectPath> {
            let path = OwnedObjectPath::try_from(SEAT).map_err(zbus::Error::from)?;
            Some(path)
                .filter(|_| id == "seat0")
                .ok_or_else(|| zbus::fdo::Error::Failed("no such seat".into()))
        }
    }

    struct FakeSeat(Active);

    #[zbus::interface(name = "org.freedesktop.login1.Seat")]
    impl FakeSeat {
        #[zbus(property)]
        fn active_session(&self) -> (String, OwnedObjectPath) {
            let id = self.0.lock().expect("a lock").clone();
            let path = match id.strip_prefix("c-") {
                Some(user) => format!("/org/freedesktop/login1/session/{user}"),
                None => "/".into(),
            };
            (id, OwnedObjectPath::try_from(path).expect("an object path"))
        }
    }

    struct FakeSession(&'static str);

    #[zbus::interface(name = "org.freedesktop.login1.Session")]
    impl FakeSession {
        #[zbus(property)]
        fn name(&self) -> String {
            self.0.into()
        }
    }

    /// Serves the seat `seat0` and sessions of the users `ann` and `bob`.
    pub struct Logind {
        active: Active,
        seat: InterfaceRef<FakeSeat>,
        _server: Connection,
    }

    impl Logind {
        /// Returns the server, and the seat as a client sees it.
        pub fn start(active: &str) -> zbus::Result<(Self, WatchedSeat)> {
            let active = Arc::new(Mutex::new(active.to_owned()));
            let (ours, theirs) = UnixStream::pair().map_err(zbus::Error::from)?;
            let server = Builder::async_io_unix_stream(ours)
                .server(zbus::Guid::generate())?
                .p2p()
                .serve_at("/org/freedesktop/login1", FakeManager)?
                .serve_at(SEAT, FakeSeat(active.clone()))?
                .serve_at("/org/freedesktop/login1/session/ann", FakeSession("ann"))?
                .serve_at("/org/freedesktop/login1/session/bob", FakeSession("bob"))?;
            let client = Builder::async_io_unix_stream(theirs).p2p();
            future::block_on(async {
                let (server, client) = future::zip(server.build(), client.build()).await;
                let server = server?;
                let seat = server.object_server().interface::<_, FakeSeat>(SEAT).await?;
                let watched = WatchedSeat::new(client?, "seat0").await?;
                Ok((Self { active, seat, _server: server }, watched))
            })
        }

        /// Makes another session the active one and emits the signal.
        pub fn activate(&self, id: &str) -> zbus::Result<()> {
            *self.active.lock().expect("a lock") = id.to_owned();
            future::block_on(async {
                self.seat.get().await.active_session_changed(self.seat.signal_emitter()).await
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future;

    use super::*;

    #[test]
    fn active_user_is_the_user_of_the_active_session() -> zbus::Result<()> {
        let (logind, mut seat) = fake::Logind::start("c-ann")?;
        let user = |seat: &WatchedSeat| future::block_on(seat.active_user());
        assert_eq!(user(&seat)?.as_deref(), Some("ann"));
        for (session, expected) in
            [("c-bob", Some("bob")), ("", None), ("c-gone", None), ("c-ann", Some("ann"))]
        {
            logind.activate(session)?;
            assert!(future::block_on(seat.changed()));
            assert_eq!(user(&seat)?.as_deref(), expected, "{session}");
        }
        drop(logind);
        assert!(!future::block_on(seat.changed()), "the end of the bus is noticed");
        Ok(())
    }

    #[test]
    fn block_on_gives_up_after_the_timeout() {
        assert_eq!(block_on(future::ready(7), Duration::from_secs(60)), Some(7));
        assert_eq!(block_on(future::pending::<()>(), Duration::from_millis(1)), None);
    }
}
