//! A session beside a service that breaks, forgets and falls silent.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use geom_ipc::{ConnectType, FromClient, FromServer, Outcome, Welcome};

use super::*;

type Failed = Box<dyn std::error::Error>;

/// What the session says to, line by line.
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

    /// Connects, with the service's side of the greeting in another thread.
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
    fn read(&mut self) -> Result<FromClient, Failed> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        FromClient::parse(line.as_bytes()).map_err(|wrong| format!("{line:?}: {wrong:?}").into())
    }

    /// Reads on until this request, and gives its number.
    fn until(&mut self, wanted: &Request) -> Result<u64, Failed> {
        loop {
            let said = self.read()?;
            if said.request == *wanted {
                return Ok(said.id);
            }
        }
    }

    fn hello(&mut self) -> Result<(u64, Option<String>), Failed> {
        match self.read()? {
            FromClient { id, request: Request::Hello { token, .. } } => Ok((id, token)),
            other => Err(format!("no hello: {other:?}").into()),
        }
    }

    fn say(&mut self, message: FromServer) -> Result<(), Failed> {
        Ok(self.stream.write_all(&message.to_line())?)
    }

    fn answer(&mut self, id: u64, result: Result<Answer, geom_ipc::Error>) -> Result<(), Failed> {
        self.say(FromServer::Reply(Reply {
            id: Some(id),
            result: match result {
                Ok(answer) => Outcome::Answer(answer),
                Err(error) => Outcome::Error(error),
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
        self.answer(id, Ok(Answer::Welcome(welcome)))
    }
}

const LONG: u64 = 600_000;

#[test]
fn a_session_that_is_kept_is_resumed_with_its_stream() -> Result<(), Failed> {
    let service = Service::new()?;
    let (session, mut peer) = service.connect(ConnectType::KEEP_CONNECTION_OPEN, LONG)?;
    let events = std::thread::scope(|scope| {
        let events = scope.spawn(|| session.events());
        let id = peer.until(&Request::Subscribe)?;
        peer.answer(id, Ok(Answer::Done))?;
        Ok::<_, Failed>(events.join().map_err(|_| "the events' thread")??)
    })?;
    for _ in 0..3 {
        drop(peer);
        peer = service.accept()?;
        let (id, token) = peer.hello()?;
        assert_eq!(token.as_deref(), Some("secret"));
        peer.welcome(id, true, ConnectType::KEEP_CONNECTION_OPEN, LONG)?;
        let id = peer.until(&Request::Subscribe)?;
        peer.answer(id, Ok(Answer::Done))?;
        assert_eq!(events.next_within(Duration::from_secs(20))?, Some(Event::StreamLost));
        peer.say(FromServer::Event(Event::ConfigApplied))?;
        assert_eq!(events.next_within(Duration::from_secs(20))?, Some(Event::ConfigApplied));
    }
    assert_eq!(session.ended(), None);
    drop(session);
    peer.until(&Request::Goodbye)?;
    assert!(matches!(events.wait(), Err(Error::Gone(None))));
    Ok(())
}

#[test]
fn a_forgotten_session_begins_anew_and_what_waited_is_asked() -> Result<(), Failed> {
    let service = Service::new()?;
    let (session, peer) = service.connect(ConnectType::KEEP_CONNECTION_OPEN, LONG)?;
    drop(peer);
    std::thread::scope(|scope| {
        let mut peer = service.accept()?;
        let status = scope.spawn(|| session.request(Request::Heartbeat));
        let (id, token) = peer.hello()?;
        assert!(token.is_some());
        peer.answer(id, Err(geom_ipc::Error::new(ErrorKind::NotFound, "forgotten")))?;
        let mut peer = service.accept()?;
        let (id, token) = peer.hello()?;
        assert_eq!(token, None);
        peer.welcome(id, false, ConnectType::KEEP_CONNECTION_OPEN, LONG)?;
        let id = peer.until(&Request::Heartbeat)?;
        peer.answer(id, Ok(Answer::Done))?;
        assert!(matches!(status.join().map_err(|_| "the request's thread")?, Ok(Answer::Done)));
        Ok(())
    })
}

#[test]
fn losses_are_final_as_the_connection_type_says() -> Result<(), Failed> {
    let service = Service::new()?;
    let once = ConnectType::DISCONNECT_ONCE;
    let (session, peer) = service.connect(once, LONG)?;
    drop(peer);
    assert!(matches!(session.request(Request::Status), Err(Error::Gone(_))));
    assert!(session.ended().is_some());

    let both = once | ConnectType::KEEP_CONNECTION_OPEN;
    let (session, peer) = service.connect(both, LONG)?;
    drop(peer);
    let mut peer = service.accept()?;
    let (id, _) = peer.hello()?;
    peer.welcome(id, true, both, LONG)?;
    std::thread::scope(|scope| {
        let lost = scope.spawn(|| session.request(Request::Status));
        peer.until(&Request::Status)?;
        drop(peer);
        assert!(matches!(lost.join().map_err(|_| "the request's thread")?, Err(Error::Gone(_))));
        Ok::<_, Failed>(())
    })?;
    assert!(matches!(session.request(Request::Status), Err(Error::Gone(_))));
    Ok(())
}

#[test]
fn a_silent_service_is_asked_and_then_given_up() -> Result<(), Failed> {
    let service = Service::new()?;
    let (session, mut peer) = service.connect(ConnectType::DISCONNECT_ONCE, 20)?;
    let id = peer.until(&Request::Heartbeat)?;
    peer.answer(id, Ok(Answer::Done))?;
    peer.until(&Request::Heartbeat)?;
    // It reads and does not answer.
    assert!(matches!(session.request(Request::Status), Err(Error::Gone(Some(EndReason::LostHeartbeat)))));
    Ok(())
}

#[test]
fn a_session_that_waits_for_a_mute_service_ends_at_once() -> Result<(), Failed> {
    let service = Service::new()?;
    let (session, peer) = service.connect(ConnectType::KEEP_CONNECTION_OPEN, LONG)?;
    drop(peer);
    // It says hello again, and nobody answers.
    let mut mute = service.accept()?;
    mute.hello()?;
    let begun = Instant::now();
    drop(session);
    assert!(begun.elapsed() < Duration::from_secs(10), "the end waited for an answer");
    Ok(())
}
