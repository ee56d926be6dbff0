//! A connection that a thread keeps alive, and takes up again when it breaks.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{channel, sync_channel, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use geom_ipc::{Answer, EndReason, ErrorKind, Event, Reply, Request};
use rustix::event::{eventfd, EventfdFlags};

use crate::events::{Events, Listeners};
use crate::wait::readable;
use crate::{Client, ConnectOptions, Error};

/// The first pause between two tries to come back, which doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// An answer and the descriptor that came with it.
type Answered = (Answer, Option<OwnedFd>);

enum Order {
    Ask { request: Request, reply: SyncSender<Result<Answered, Error>>, deadline: Instant },
    Listen { reply: SyncSender<Result<Events, Error>> },
    End,
}

/// A session with the service that any thread may use.
///
/// A thread of its own answers the service's heartbeats, sends its own, and, as the connection type allows, resumes
/// the session when its socket breaks:
/// [`geom_ipc::ConnectType::DISCONNECT_ONCE`] never, [`geom_ipc::ConnectType::KEEP_CONNECTION_OPEN`]
/// any number of times, both once. Where the service has forgotten the session (it was started anew), a new one
/// is begun in its place. Requests that were on their way when a connection broke fail with [`Error::Gone`]: they may
/// have been carried out or not.
///
/// Dropping it says goodbye: the service keeps nothing of it.
#[derive(Debug)]
pub struct Session {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
    /// Ends the keeper's waiting for a service that does not answer.
    leave: Arc<OwnedFd>,
    timeout: Duration,
    ended: Arc<Mutex<Option<End>>>,
    token: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Connects and says hello.
    ///
    /// # Errors
    /// Where no service answers, or it refuses.
    pub fn connect(options: &ConnectOptions) -> Result<Self, Error> {
        let mut client = Client::connect(options)?;
        let (wake, leave) = (signal()?, signal()?);
        client.interrupt = Some(leave.clone());
        let (orders, receiver) = channel();
        let ended = Arc::new(Mutex::new(None));
        let token = Arc::new(Mutex::new(client.welcome().token.clone()));
        let mut keeper = Keeper {
            client,
            token: token.clone(),
            down: None,
            orders: receiver,
            wake: wake.clone(),
            ended: ended.clone(),
            asked: HashMap::new(),
            held: Vec::new(),
            listeners: Listeners::default(),
            subscribed: false,
            heard: Instant::now(),
            asked_for_life: None,
            losses: 0,
        };
        let thread = std::thread::Builder::new().name("geom-session".into()).spawn(move || keeper.run())?;
        Ok(Self { orders, wake, leave, timeout: options.timeout, ended, token, thread: Some(thread) })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// The service's, [`Error::Gone`] where the connection ended, [`Error::TimedOut`].
    pub fn request(&self, request: Request) -> Result<Answer, Error> {
        self.request_within(request, self.timeout).map(|(answer, _)| answer)
    }

    /// As [`Self::request`], for answers that take longer.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn request_within(&self, request: Request, time: Duration) -> Result<Answered, Error> {
        let (reply, receiver) = sync_channel(1);
        self.order(Order::Ask { request, reply, deadline: Instant::now() + time });
        self.wait(&receiver, time)
    }

    /// What happens from now on.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn events(&self) -> Result<Events, Error> {
        let (reply, receiver) = sync_channel(1);
        self.order(Order::Listen { reply });
        self.wait(&receiver, self.timeout)
    }

    /// Whether the session has ended for good, and why as far as the service told.
    pub fn ended(&self) -> Option<Option<EndReason>> {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What resumes the session from another process ([`ConnectOptions::token`]), should this one be killed.
    pub fn token(&self) -> String {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn order(&self, order: Order) {
        // A keeper that has ended answers by hanging up.
        let _ = self.orders.send(order);
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    fn wait<T>(&self, receiver: &Receiver<Result<T, Error>>, time: Duration) -> Result<T, Error> {
        match receiver.recv_timeout(time) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(Error::TimedOut(time)),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Gone(self.ended().flatten())),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.leave, &1u64.to_ne_bytes());
        self.order(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn signal() -> std::io::Result<Arc<OwnedFd>> {
    Ok(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
}

/// A broken connection: when it is tried next, and the pause that leads there.
struct Retry {
    next: Instant,
    pause: Duration,
}

/// Who waits for the reply.
enum Asker {
    Caller {
        reply: SyncSender<Result<Answered, Error>>,
        with_fd: bool,
    },
    Listener {
        reply: SyncSender<Result<Events, Error>>,
        events: Events,
    },
    /// A heartbeat, a subscription taken up again: nobody.
    Nobody,
}

/// Why a session is over for good, as far as the service told.
type End = Option<EndReason>;

struct Keeper {
    client: Client,
    /// While it is broken.
    down: Option<Retry>,
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    ended: Arc<Mutex<Option<End>>>,
    token: Arc<Mutex<String>>,
    asked: HashMap<u64, Asker>,
    /// Orders that came while the connection was broken.
    held: Vec<Order>,
    listeners: Listeners,
    subscribed: bool,
    heard: Instant,
    /// When the heartbeat went out that is not answered yet.
    asked_for_life: Option<Instant>,
    losses: u32,
}

impl Keeper {
    fn run(&mut self) {
        let reason = loop {
            if let Err(reason) = self.turn() {
                break reason;
            }
        };
        self.mark_ended(reason);
        self.fail_all(reason);
        self.listeners.end(reason);
    }

    /// Before anyone hears of the end: who does may ask at once.
    fn mark_ended(&self, reason: End) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    /// One wait and what follows from it.
    fn turn(&mut self) -> Result<(), End> {
        let (wake, deadline) = (self.wake.as_fd(), Some(self.deadline()));
        let waited = match self.down {
            None => readable(&[wake, self.client.as_fd()], deadline),
            Some(_) => readable(&[wake], deadline),
        };
        waited.map_err(|_| None)?;
        let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        while let Ok(order) = self.orders.try_recv() {
            self.carry_out(order)?;
        }
        if self.down.is_some() {
            self.come_back()
        } else {
            self.read()?;
            self.beat()
        }
    }

    fn carry_out(&mut self, order: Order) -> Result<(), End> {
        match order {
            // The client says goodbye when it is dropped.
            Order::End => Err(None),
            order if self.down.is_some() => {
                self.held.push(order);
                Ok(())
            }
            // Its caller has given up: it must not happen any more.
            Order::Ask { deadline, .. } if Instant::now() >= deadline => Ok(()),
            Order::Ask { request, reply, .. } => {
                let with_fd = matches!(&request, Request::Screenshot { path: None, .. });
                self.send(request, Asker::Caller { reply, with_fd })
            }
            Order::Listen { reply } => match self.listeners.add() {
                Ok(events) if self.subscribed => {
                    let _ = reply.send(Ok(events));
                    Ok(())
                }
                Ok(events) => {
                    self.subscribed = true;
                    self.send(Request::Subscribe, Asker::Listener { reply, events })
                }
                Err(error) => {
                    let _ = reply.send(Err(error.into()));
                    Ok(())
                }
            },
        }
    }

    fn send(&mut self, request: Request, asker: Asker) -> Result<(), End> {
        if self.down.is_some() {
            asker.fail(Error::Gone(None));
            return Ok(());
        }
        match self.client.send(request) {
            Ok(id) => {
                self.asked.insert(id, asker);
                Ok(())
            }
            Err(error) => {
                // A reader that is too slow for so long does not read at all.
                let after = self.broken(None);
                asker.fail(error);
                after
            }
        }
    }

    /// Hands on what has come.
    fn read(&mut self) -> Result<(), End> {
        let before = self.client.received();
        let read = self.client.dispatch();
        if self.client.received() != before {
            (self.heard, self.asked_for_life) = (Instant::now(), None);
        }
        for reply in self.client.take_replies() {
            self.hand_on(reply);
        }
        for event in self.client.take_events() {
            self.listeners.tell(&event);
            if event == Event::StreamLost {
                // This process was too slow: its stream is taken up again, and the consumers know.
                self.send(Request::Subscribe, Asker::Nobody)?;
            }
        }
        if self.subscribed && !self.listeners.are_there() {
            self.subscribed = false;
            self.send(Request::Unsubscribe, Asker::Nobody)?;
        }
        match read {
            Ok(()) => Ok(()),
            Err(Error::Gone(reason)) => self.broken(reason),
            Err(_) => self.broken(None),
        }
    }

    fn hand_on(&mut self, reply: Reply) {
        let Some(asker) = reply.id.and_then(|id| self.asked.remove(&id)) else { return };
        match (reply.into_result(), asker) {
            (Ok(answer), Asker::Caller { reply, with_fd }) => {
                let fd = if with_fd { self.client.take_fd() } else { None };
                let _ = reply.send(Ok((answer, fd)));
            }
            (Ok(_), Asker::Listener { reply, events }) => {
                let _ = reply.send(Ok(events));
            }
            (Ok(_), Asker::Nobody) => {}
            (Err(error), asker) => asker.fail(error.into()),
        }
    }

    /// Asks a service that was silent for a sign of life, and gives up one that gives none.
    fn beat(&mut self) -> Result<(), End> {
        let (interval, lost) = self.patience();
        match self.asked_for_life {
            None if self.heard.elapsed() >= interval => {
                self.asked_for_life = Some(Instant::now());
                self.send(Request::Heartbeat, Asker::Nobody)
            }
            Some(since) if since.elapsed() >= lost => self.broken(Some(EndReason::LostHeartbeat)),
            _ => Ok(()),
        }
    }

    /// The silence after which the service is asked, and for how long it may owe the answer.
    fn patience(&self) -> (Duration, Duration) {
        let welcome = self.client.welcome();
        (Duration::from_millis(welcome.heartbeat_ms.max(1)), Duration::from_millis(welcome.lost_ms.max(1)))
    }

    /// When there is something to do, whatever comes.
    fn deadline(&self) -> Instant {
        let (interval, lost) = self.patience();
        match (&self.down, self.asked_for_life) {
            (Some(retry), _) => retry.next,
            (None, Some(since)) => since + lost,
            (None, None) => self.heard + interval,
        }
    }

    /// The connection ended: for good, or to be taken up again.
    fn broken(&mut self, reason: End) -> Result<(), End> {
        let connect_type = self.client.welcome().connect_type.unwrap_or_default();
        self.losses += 1;
        // Who was told to go does not come back.
        let told = matches!(reason, Some(EndReason::Ordered | EndReason::NotAllowed | EndReason::OverLimit));
        if told || connect_type.is_final(self.losses) {
            self.mark_ended(reason);
            return Err(reason);
        }
        self.fail_all(reason);
        self.down = Some(Retry { next: Instant::now(), pause: FIRST_PAUSE });
        Ok(())
    }

    /// Tries to take the session up again, or to begin a new one where it is forgotten.
    fn come_back(&mut self) -> Result<(), End> {
        let now = Instant::now();
        let Some(retry) = self.down.as_mut().filter(|retry| retry.next <= now) else { return Ok(()) };
        let resumed = match self.client.resume() {
            Err(Error::Server(error)) if error.kind == ErrorKind::NotFound => self.client.begin_again(),
            other => other,
        };
        match resumed {
            Ok(()) => {
                self.down = None;
                self.token
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone_from(&self.client.welcome().token);
                (self.heard, self.asked_for_life) = (Instant::now(), None);
                if self.subscribed {
                    self.listeners.tell(&Event::StreamLost);
                    self.send(Request::Subscribe, Asker::Nobody)?;
                }
                for order in std::mem::take(&mut self.held) {
                    self.carry_out(order)?;
                }
                Ok(())
            }
            // The service has counted a loss that is final, or lets this user in no more.
            Err(Error::Server(error)) if matches!(error.kind, ErrorKind::Failed | ErrorKind::NotAllowed) => {
                Err(Some(EndReason::NotAllowed))
            }
            Err(_) => {
                retry.pause = (retry.pause * 2).min(LAST_PAUSE);
                retry.next = Instant::now() + retry.pause;
                Ok(())
            }
        }
    }

    fn fail_all(&mut self, reason: End) {
        for (_, asker) in self.asked.drain() {
            asker.fail(Error::Gone(reason));
        }
    }
}

impl Asker {
    fn fail(self, error: Error) {
        // A caller that has given up does not listen.
        match self {
            Self::Caller { reply, .. } => drop(reply.send(Err(error))),
            Self::Listener { reply, .. } => drop(reply.send(Err(error))),
            Self::Nobody => {}
        }
    }
}

#[cfg(test)]
mod tests;
