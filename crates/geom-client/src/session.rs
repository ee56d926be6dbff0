//! A connection that a thread keeps alive, and resumes when it breaks.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{channel, sync_channel, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use geom_ipc::{CloseReason, ErrorKind, Event, Reply, Request, Response};
use rustix::event::{eventfd, EventfdFlags};

use crate::events::{EventQueues, Events};
use crate::wait::readable;
use crate::{Client, ConnectOptions, Error};

/// The delay before the second attempt to reconnect. It doubles with each attempt, up to
/// [`MAX_RETRY_DELAY`].
const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(2);

/// A response and the file descriptor that came with it.
type ResponseWithFd = (Response, Option<OwnedFd>);

/// A command to the session's thread.
enum Command {
    Request { request: Request, reply: SyncSender<Result<ResponseWithFd, Error>>, deadline: Instant },
    Subscribe { reply: SyncSender<Result<Events, Error>> },
    Close,
}

/// A session with the service, for any thread.
///
/// A thread of its own answers the service's heartbeats and sends its own. When the connection
/// breaks, the thread resumes the session as often as the connection type allows:
/// [`geom_ipc::ConnectType::DISCONNECT_ONCE`] never,
/// [`geom_ipc::ConnectType::KEEP_CONNECTION_OPEN`] any number of times, both flags once. If the
/// service does not know the session, because it was restarted, a new session begins.
///
/// A request that was sent when the connection broke fails with [`Error::Disconnected`]: the
/// service may have carried it out or not. A request that is made while the connection is broken
/// waits for the new connection, up to its timeout.
///
/// Dropping it ends the session: the service keeps nothing of it.
#[derive(Debug)]
pub struct Session {
    commands: Sender<Command>,
    /// Wakes the thread when there is a command.
    wake: Arc<OwnedFd>,
    /// Cancels the thread's waiting for a service that does not reply.
    cancel: Arc<OwnedFd>,
    timeout: Duration,
    ended: Arc<Mutex<Option<End>>>,
    token: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Connects to the service and begins a session, or resumes the one of
    /// [`ConnectOptions::token`].
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        let mut client = Client::connect(options)?;
        let (wake, cancel) = (new_eventfd()?, new_eventfd()?);
        client.cancel = Some(cancel.clone());
        let (commands, receiver) = channel();
        let ended = Arc::new(Mutex::new(None));
        let token = Arc::new(Mutex::new(client.welcome().token.clone()));
        let mut worker = Worker {
            client,
            token: token.clone(),
            retry: None,
            commands: receiver,
            wake: wake.clone(),
            ended: ended.clone(),
            pending: HashMap::new(),
            delayed: Vec::new(),
            queues: EventQueues::default(),
            subscribed: false,
            last_received: Instant::now(),
            heartbeat_sent: None,
            disconnects: 0,
        };
        let thread = std::thread::Builder::new().name("geom-session".into()).spawn(move || worker.run())?;
        Ok(Self { commands, wake, cancel, timeout: options.timeout, ended, token, thread: Some(thread) })
    }

    /// Sends a request and waits for the response.
    ///
    /// # Errors
    /// [`Error::Server`] if the service replies with an error, [`Error::Disconnected`] if the
    /// connection ends, [`Error::TimedOut`] if there is no reply within
    /// [`ConnectOptions::timeout`].
    pub fn request(&self, request: Request) -> Result<Response, Error> {
        self.request_within(request, self.timeout).map(|(response, _)| response)
    }

    /// Sends a request and waits up to `time` for the response. Returns the file descriptor that
    /// comes with the response to [`Request::Screenshot`].
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn request_within(
        &self,
        request: Request,
        time: Duration,
    ) -> Result<(Response, Option<OwnedFd>), Error> {
        let (reply, receiver) = sync_channel(1);
        self.send(Command::Request { request, reply, deadline: Instant::now() + time });
        self.wait(&receiver, time)
    }

    /// Returns a stream of all events from now on.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn events(&self) -> Result<Events, Error> {
        let (reply, receiver) = sync_channel(1);
        self.send(Command::Subscribe { reply });
        self.wait(&receiver, self.timeout)
    }

    /// Returns `None` while the session lasts, and the reason that the service gave, if any, after
    /// it has ended. A session that has ended is not resumed.
    pub fn ended(&self) -> Option<Option<CloseReason>> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the token that resumes the session from another process ([`ConnectOptions::token`]),
    /// for programs that may be killed. A secret.
    pub fn token(&self) -> String {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn send(&self, command: Command) {
        // Fails if the thread has ended. The command is dropped then, which disconnects its
        // channel.
        let _ = self.commands.send(command);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn wait<T>(&self, receiver: &Receiver<Result<T, Error>>, time: Duration) -> Result<T, Error> {
        match receiver.recv_timeout(time) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(Error::TimedOut(time)),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Disconnected(self.ended().flatten())),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.cancel, &1u64.to_ne_bytes());
        self.send(Command::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn new_eventfd() -> std::io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
}

/// The next attempt to reconnect, and the delay before it.
struct Retry {
    at: Instant,
    delay: Duration,
}

/// The receiver of a reply.
enum Waiter {
    Request {
        reply: SyncSender<Result<ResponseWithFd, Error>>,
        with_fd: bool,
    },
    Subscription {
        reply: SyncSender<Result<Events, Error>>,
        events: Events,
    },
    /// For requests of the thread itself: heartbeats, and subscriptions of a resumed session.
    None,
}

/// The reason why a session has ended, if the service gave one.
type End = Option<CloseReason>;

/// The state of the session's thread.
struct Worker {
    client: Client,
    /// Set while the connection is broken.
    retry: Option<Retry>,
    commands: Receiver<Command>,
    wake: Arc<OwnedFd>,
    ended: Arc<Mutex<Option<End>>>,
    token: Arc<Mutex<String>>,
    /// Requests without a reply, by id.
    pending: HashMap<u64, Waiter>,
    /// Commands that arrived while the connection was broken.
    delayed: Vec<Command>,
    queues: EventQueues,
    subscribed: bool,
    last_received: Instant,
    /// When the heartbeat was sent that has no reply yet.
    heartbeat_sent: Option<Instant>,
    disconnects: u32,
}

impl Worker {
    fn run(&mut self) {
        let reason = loop {
            if let Err(reason) = self.iterate() {
                break reason;
            }
        };
        self.mark_ended(reason);
        self.fail_pending(reason);
        self.queues.end(reason);
    }

    /// Called before callers get their error, because they may call [`Session::ended`] next.
    fn mark_ended(&self, reason: End) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// Waits once, and handles what became ready. `Err` ends the session.
    fn iterate(&mut self) -> Result<(), End> {
        let (wake, deadline) = (self.wake.as_fd(), Some(self.deadline()));
        let waited = match self.retry {
            None => readable(&[wake, self.client.as_fd()], deadline),
            Some(_) => readable(&[wake], deadline),
        };
        waited.map_err(|_| None)?;
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        while let Ok(command) = self.commands.try_recv() {
            self.handle_command(command)?;
        }
        if self.retry.is_some() {
            self.reconnect()
        } else {
            self.read()?;
            self.check_heartbeat()
        }
    }

    fn handle_command(&mut self, command: Command) -> Result<(), End> {
        match command {
            // The client sends goodbye when it is dropped.
            Command::Close => Err(None),
            command if self.retry.is_some() => {
                self.delayed.push(command);
                Ok(())
            }
            // The caller has got its error. The service must not carry out the request later.
            Command::Request { deadline, .. } if Instant::now() >= deadline => Ok(()),
            Command::Request { request, reply, .. } => {
                let with_fd = matches!(&request, Request::Screenshot { .. });
                self.send(request, Waiter::Request { reply, with_fd })
            }
            Command::Subscribe { reply } => match self.queues.add() {
                Ok(events) if self.subscribed => {
                    let _ = reply.send(Ok(events));
                    Ok(())
                }
                Ok(events) => {
                    self.subscribed = true;
                    self.send(Request::Subscribe, Waiter::Subscription { reply, events })
                }
                Err(error) => {
                    let _ = reply.send(Err(error.into()));
                    Ok(())
                }
            },
        }
    }

    fn send(&mut self, request: Request, waiter: Waiter) -> Result<(), End> {
        if self.retry.is_some() {
            waiter.fail(Error::Disconnected(None));
            return Ok(());
        }
        match self.client.send(request) {
            Ok(id) => {
                self.pending.insert(id, waiter);
                Ok(())
            }
            Err(error) => {
                // A service that did not read for the whole timeout is treated as disconnected.
                let result = self.on_disconnect(None);
                waiter.fail(error);
                result
            }
        }
    }

    /// Reads and delivers all messages that have arrived.
    fn read(&mut self) -> Result<(), End> {
        let before = self.client.received_bytes();
        let read = self.client.dispatch();
        if self.client.received_bytes() != before {
            (self.last_received, self.heartbeat_sent) = (Instant::now(), None);
        }
        for reply in self.client.take_replies() {
            self.deliver(reply);
        }
        for event in self.client.take_events() {
            self.queues.publish(&event);
            if event == Event::EventsLost {
                // The service has ended the subscription, because this process was too slow. The
                // consumers get the event, and the stream goes on.
                self.send(Request::Subscribe, Waiter::None)?;
            }
        }
        if self.subscribed && self.queues.is_empty() {
            self.subscribed = false;
            self.send(Request::Unsubscribe, Waiter::None)?;
        }
        match read {
            Ok(()) => Ok(()),
            Err(Error::Disconnected(reason)) => self.on_disconnect(reason),
            Err(_) => self.on_disconnect(None),
        }
    }

    fn deliver(&mut self, reply: Reply) {
        let Some(waiter) = reply.id.and_then(|id| self.pending.remove(&id)) else { return };
        match (reply.into_result(), waiter) {
            (Ok(response), Waiter::Request { reply, with_fd }) => {
                let fd = if with_fd { self.client.take_fd() } else { None };
                let _ = reply.send(Ok((response, fd)));
            }
            (Ok(_), Waiter::Subscription { reply, events }) => {
                let _ = reply.send(Ok(events));
            }
            (Ok(_), Waiter::None) => {}
            (Err(error), waiter) => waiter.fail(error.into()),
        }
    }

    /// Sends a heartbeat if the service was idle for the interval, and gives up a service that does
    /// not answer it in time.
    fn check_heartbeat(&mut self) -> Result<(), End> {
        let (interval, timeout) = self.heartbeat_times();
        match self.heartbeat_sent {
            None if self.last_received.elapsed() >= interval => {
                self.heartbeat_sent = Some(Instant::now());
                self.send(Request::Heartbeat, Waiter::None)
            }
            Some(sent) if sent.elapsed() >= timeout => {
                self.on_disconnect(Some(CloseReason::HeartbeatTimeout))
            }
            _ => Ok(()),
        }
    }

    /// Returns the interval and the timeout of heartbeats. The service's own apply both ways.
    fn heartbeat_times(&self) -> (Duration, Duration) {
        let welcome = self.client.welcome();
        (Duration::from_millis(welcome.heartbeat_ms.max(1)), Duration::from_millis(welcome.lost_ms.max(1)))
    }

    /// Returns the time of the next attempt to reconnect, or of the next heartbeat or its timeout.
    fn deadline(&self) -> Instant {
        let (interval, timeout) = self.heartbeat_times();
        match (&self.retry, self.heartbeat_sent) {
            (Some(retry), _) => retry.at,
            (None, Some(sent)) => sent + timeout,
            (None, None) => self.last_received + interval,
        }
    }

    /// Handles a broken connection: schedules an attempt to reconnect, or ends the session if the
    /// connection type or the service's reason makes the disconnect final.
    fn on_disconnect(&mut self, reason: End) -> Result<(), End> {
        let connect_type = self.client.welcome().connect_type.unwrap_or_default();
        self.disconnects += 1;
        let expelled =
            matches!(reason, Some(CloseReason::Requested | CloseReason::NotAllowed | CloseReason::OverLimit));
        if expelled || connect_type.is_final(self.disconnects) {
            self.mark_ended(reason);
            return Err(reason);
        }
        self.fail_pending(reason);
        self.retry = Some(Retry { at: Instant::now(), delay: MIN_RETRY_DELAY });
        Ok(())
    }

    /// Resumes the session if an attempt is due, or begins a new one if the service has not kept
    /// it.
    fn reconnect(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let Some(retry) = self.retry.as_mut().filter(|retry| retry.at <= now) else { return Ok(()) };
        let resumed = match self.client.resume() {
            Err(Error::Server(error)) if error.kind == ErrorKind::NotFound => self.client.reconnect(),
            other => other,
        };
        match resumed {
            Ok(()) => {
                self.retry = None;
                self.token
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone_from(&self.client.welcome().token);
                (self.last_received, self.heartbeat_sent) = (Instant::now(), None);
                if self.subscribed {
                    self.queues.publish(&Event::EventsLost);
                    self.send(Request::Subscribe, Waiter::None)?;
                }
                for command in std::mem::take(&mut self.delayed) {
                    self.handle_command(command)?;
                }
                Ok(())
            }
            // The disconnect was final for the service, or this user may no longer connect.
            Err(Error::Server(error)) if matches!(error.kind, ErrorKind::Failed | ErrorKind::NotAllowed) => {
                Err(Some(CloseReason::NotAllowed))
            }
            Err(_) => {
                retry.delay = (retry.delay * 2).min(MAX_RETRY_DELAY);
                retry.at = Instant::now() + retry.delay;
                Ok(())
            }
        }
    }

    fn fail_pending(&mut self, reason: End) {
        for (_, waiter) in self.pending.drain() {
            waiter.fail(Error::Disconnected(reason));
        }
    }
}

impl Waiter {
    fn fail(self, error: Error) {
        // Sending fails if the caller's time has run out. It has got another error then.
        match self {
            Self::Request { reply, .. } => drop(reply.send(Err(error))),
            Self::Subscription { reply, .. } => drop(reply.send(Err(error))),
            Self::None => {}
        }
    }
}

#[cfg(test)]
mod tests;
