//! Sessions with a service that disconnects, forgets sessions or stops answering.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use geom_ipc::{ClientMessage, ConnectType, ReplyResult, ServerMessage, Welcome};

use super::*;

type Failed = Box<dyn std::error::Error>;

/// The listening socket of a fake service.
struct Service {
    listener: UnixListener,
    folder: tempfile::TempDir,
}

/// One accepted connection.
struct Peer {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
}

impl Service {
    fn new() -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        Ok(Self { listener: UnixListener::bind(folder.path().join("socket"))?, folder })
    }

    /// Connects a session in another thread, and performs the service's side of the handshake.
    fn connect(&self, connect_type: ConnectType, heartbeat_ms: u64) -> Result<(Session, Peer), Failed> {
        let options = ConnectOptions {
            socket: Some(self.folder.path().join("socket")),
            connect_type: Some(connect_type),
            timeout: Duration::from_secs(20),
            ..ConnectOptions::default()
        };
        std::thread::scope(|scope| {
            let session = scope.spawn(|| Session::connect(&options));
            let mut peer = self.accept()?;
            let (hello, token) = peer.hello()?;
            assert_eq!(token, None);
            peer.welcome(hello, false, connect_type, heartbeat_ms)?;
            Ok((session.join().map_err(|_| "the session's thread")??, peer))
        })
    }

    fn accept(&self) -> Result<Peer, Failed> {
        let (stream, _) = self.listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Peer { reader: BufReader::new(stream.try_clone()?), stream })
    }
}

impl Peer {
    fn read(&mut self) -> Result<ClientMessage, Failed> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        ClientMessage::parse(line.as_bytes()).map_err(|wrong| format!("{line:?}: {wrong:?}").into())
    }

    /// Reads requests until the wanted one arrives, and returns its id.
    fn wait_for(&mut self, wanted: &Request) -> Result<u64, Failed> {
        loop {
            let message = self.read()?;
            if message.request == *wanted {
                return Ok(message.id);
            }
        }
    }

    fn hello(&mut self) -> Result<(u64, Option<String>), Failed> {
        match self.read()? {
            ClientMessage { id, request: Request::Hello { token, .. } } => Ok((id, token)),
            other => Err(format!("no hello: {other:?}").into()),
        }
    }

    fn send(&mut self, message: ServerMessage) -> Result<(), Failed> {
        Ok(self.stream.write_all(&message.to_line())?)
    }

    fn reply(&mut self, id: u64, result: Result<Response, geom_ipc::Error>) -> Result<(), Failed> {
        self.send(ServerMessage::Reply(Reply {
            id: Some(id),
            result: match result {
                Ok(response) => ReplyResult::Response(response),
                Err(error) => ReplyResult::Error(error),
            },
        }))
    }

    fn welcome(
        &mut self,
        id: u64,
        resumed: bool,
        connect_type: ConnectType,
        heartbeat_ms: u64,
    ) -> Result<(), Failed> {
        let welcome = Welcome {
            version: 1,
            server: "test".into(),
            connection: 1,
            token: "secret".into(),
            resumed,
            heartbeat_ms,
            lost_ms: heartbeat_ms,
            connect_type: Some(connect_type),
        };
        self.reply(id, Ok(Response::Welcome(welcome)))
    }
}

/// A heartbeat interval in milliseconds that no test reaches.
const NEVER: u64 = 600_000;

#[test]
fn kept_session_is_resumed_with_its_event_stream() -> Result<(), Failed> {
    let service = Service::new()?;
    let (session, mut peer) = service.connect(ConnectType::KEEP_CONNECTION_OPEN, NEVER)?;
    let events = std::thread::scope(|scope| {
        let events = scope.spawn(|| session.events());
        let id = peer.wait_for(&Request::Subscribe)?;
        peer.reply(id, Ok(Response::Done))?;
        Ok::<_, Failed>(events.join().map_err(|_| "the events' thread")??)
    })?;
    for _ in 0..3 {
        drop(peer);
        peer = service.accept()?;
        let (id, token) = peer.hello()?;
        assert_eq!(token.as_deref(), Some("secret"));
        peer.welcome(id, true, ConnectType::KEEP_CONNECTION_OPEN, NEVER)?;
        let id = peer.wait_for(&Request::Subscribe)?;
        peer.reply(id, Ok(Response::Done))?;
        assert_eq!(events.next_within(Duration::from_secs(20))?, Some(Event::EventsLost));
        peer.send(ServerMessage::Event(Event::ConfigApplied))?;
        assert_eq!(events.next_within(Duration::from_secs(20))?, Some(Event::ConfigApplied));
    }
    assert_eq!(session.ended(), None);
    drop(session);
    peer.wait_for(&Request::Goodbye)?;
    assert!(matches!(events.wait(), Err(Error::Disconnected(None))));
    Ok(())
}

#[test]
fn new_session_begins_if_service_forgot_it_and_delayed_requests_are_sent() -> Result<(), Failed> {
    let service = Service::new()?;
    let (session, peer) = service.connect(ConnectType::KEEP_CONNECTION_OPEN, NEVER)?;
    drop(peer);
    std::thread::scope(|scope| {
        let mut peer = service.accept()?;
        let status = scope.spawn(|| session.request(Request::Heartbeat));
        let (id, token) = peer.hello()?;
        assert!(token.is_some());
        peer.reply(id, Err(geom_ipc::Error::new(ErrorKind::NotFound, "forgotten")))?;
        let mut peer = service.accept()?;
        let (id, token) = peer.hello()?;
        assert_eq!(token, None);
        peer.welcome(id, false, ConnectType::KEEP_CONNECTION_OPEN, NEVER)?;
        let id = peer.wait_for(&Request::Heartbeat)?;
        peer.reply(id, Ok(Response::Done))?;
        assert!(matches!(status.join().map_err(|_| "the request's thread")?, Ok(Response::Done)));
        Ok(())
    })
}

#[test]
fn connection_type_decides_which_disconnect_is_final() -> Result<(), Failed> {
    let service = Service::new()?;
    let once = ConnectType::DISCONNECT_ONCE;
    let (session, peer) = service.connect(once, NEVER)?;
    drop(peer);
    assert!(matches!(session.request(Request::Status), Err(Error::Disconnected(_))));
    assert!(session.ended().is_some());

    let both = once | ConnectType::KEEP_CONNECTION_OPEN;
    let (session, peer) = service.connect(both, NEVER)?;
    drop(peer);
    let mut peer = service.accept()?;
    let (id, _) = peer.hello()?;
    peer.welcome(id, true, both, NEVER)?;
    std::thread::scope(|scope| {
        let lost = scope.spawn(|| session.request(Request::Status));
        peer.wait_for(&Request::Status)?;
        drop(peer);
        assert!(matches!(lost.join().map_err(|_| "the request's thread")?, Err(Error::Disconnected(_))));
        Ok::<_, Failed>(())
    })?;
    assert!(matches!(session.request(Request::Status), Err(Error::Disconnected(_))));
    Ok(())
}

#[test]
fn service_that_does_not_answer_heartbeats_is_given_up() -> Result<(), Failed> {
    let service = Service::new()?;
    let (session, mut peer) = service.connect(ConnectType::DISCONNECT_ONCE, 20)?;
    let id = peer.wait_for(&Request::Heartbeat)?;
    peer.reply(id, Ok(Response::Done))?;
    peer.wait_for(&Request::Heartbeat)?;
    // The service reads and does not reply.
    let result = session.request(Request::Status);
    assert!(matches!(result, Err(Error::Disconnected(Some(CloseReason::HeartbeatTimeout)))));
    Ok(())
}

#[test]
fn dropping_a_session_does_not_wait_for_a_mute_service() -> Result<(), Failed> {
    let service = Service::new()?;
    let (session, peer) = service.connect(ConnectType::KEEP_CONNECTION_OPEN, NEVER)?;
    drop(peer);
    // The session reconnects, and the service does not reply to hello.
    let mut mute = service.accept()?;
    mute.hello()?;
    let start = Instant::now();
    drop(session);
    assert!(start.elapsed() < Duration::from_secs(10), "the drop waited for a reply");
    Ok(())
}
