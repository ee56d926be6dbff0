//! Commits that wait until the client's GPU has finished the buffer. Drawing would wait for it, and
//! all displays with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::time::Duration;

use smithay::backend::renderer::sync::Fence as _;
use smithay::reexports::calloop::{EventSource, Interest, RegistrationToken};
use smithay::reexports::wayland_server::backend::ClientId as WaylandClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, Resource, Weak};
use smithay::wayland::compositor::{
    add_blocker, with_states, Blocker, BlockerState, BufferAssignment, SurfaceAttributes,
};
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::drm_syncobj::DrmSyncobjCachedState;
use tracing::{debug, warn};

use crate::clients::libwayland::post_no_memory;
use crate::clients::ClientData;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;
use crate::event_loop::timers::Timer;

/// A sync point that does not come after this time is given up: clients set them at will. Fences of
/// the kernel end by themselves.
const SYNC_POINT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most commits of one client that wait. Each has a descriptor or more.
const MAX_WAITS: usize = 256;

const PENDING: u8 = 0;
const RELEASED: u8 = 1;
const CANCELLED: u8 = 2;

/// What Smithay asks about a commit.
struct Gate(Arc<AtomicU8>);

impl Blocker for Gate {
    fn state(&self) -> BlockerState {
        match self.0.load(Ordering::Relaxed) {
            PENDING => BlockerState::Pending,
            RELEASED => BlockerState::Released,
            _ => BlockerState::Cancelled,
        }
    }
}

/// A commit that waits.
struct BufferWait {
    client: Client,
    surface: Weak<WlSurface>,
    gate: Arc<AtomicU8>,
    source: RegistrationToken,
    timer: Option<Timer>,
}

/// All commits that wait, by the order in which they came.
#[derive(Default)]
pub struct BufferWaits {
    next: u64,
    waits: BTreeMap<u64, BufferWait>,
    /// How many each client has.
    counts: HashMap<WaylandClientId, usize>,
}

impl BufferWaits {
    fn uncount(&mut self, client: &WaylandClientId) {
        if let Some(count) = self.counts.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(client);
            }
        }
    }
}

impl State {
    /// Delays a commit until the client's GPU has finished the buffer: until its sync point
    /// (linux-drm-syncobj), or else the fences in the buffer.
    pub(super) fn await_buffer(&mut self, surface: &WlSurface) {
        let (point, dmabuf) = with_states(surface, |states| {
            let point = states.cached_state.get::<DrmSyncobjCachedState>().pending().acquire_point.clone();
            let dmabuf = match states.cached_state.get::<SurfaceAttributes>().pending().buffer.as_ref() {
                Some(BufferAssignment::NewBuffer(buffer)) => get_dmabuf(buffer).ok().cloned(),
                _ => None,
            };
            (point, dmabuf)
        });
        let Some((client, dmabuf)) = surface.client().zip(dmabuf) else { return };
        match point {
            Some(point) if point.is_signaled() => {}
            Some(point) => match point.generate_blocker() {
                Ok((_, source)) => self.add_wait(surface, client, source, Some(SYNC_POINT_TIMEOUT)),
                Err(error) => debug!(%error, "cannot wait for a sync point"),
            },
            // Fails if the buffer is finished already.
            None => {
                if let Ok((_, source)) = dmabuf.generate_blocker(Interest::READ) {
                    self.add_wait(surface, client, source, None);
                }
            }
        }
    }

    fn add_wait<S>(&mut self, surface: &WlSurface, client: Client, source: S, timeout: Option<Duration>)
    where
        S: EventSource<Event = (), Ret = std::io::Result<()>> + 'static,
    {
        let BufferWaits { next, counts, .. } = &mut self.protocols.buffer_waits;
        let id = *next;
        *next += 1;
        let count = counts.entry(client.id()).or_default();
        if *count >= MAX_WAITS {
            post_no_memory(surface, &format!("more than {MAX_WAITS} commits wait for buffers"));
            return;
        }
        *count += 1;
        let inserted = self.handle.insert_source(source, move |(), _, state: &mut State| {
            state.end_wait(id, RELEASED, false);
            Ok(())
        });
        let source = match inserted {
            Ok(source) => source,
            Err(error) => {
                warn!(error = %error.error, "cannot wait for a buffer; drawing waits for it");
                self.protocols.buffer_waits.uncount(&client.id());
                return;
            }
        };
        let timer = timeout.map(|timeout| {
            let at = self.now() + timeout;
            self.timers.at(at, Deadline::SyncPointOverdue(id))
        });
        let gate = Arc::new(AtomicU8::new(PENDING));
        add_blocker(surface, Gate(gate.clone()));
        let wait = BufferWait { client, surface: surface.downgrade(), gate, source, timer };
        self.protocols.buffer_waits.waits.insert(id, wait);
    }

    /// Ends the wait of a commit, which is applied or discarded. `has_source` says that its event
    /// source is still registered.
    fn end_wait(&mut self, id: u64, outcome: u8, has_source: bool) {
        let Some(wait) = self.protocols.buffer_waits.waits.remove(&id) else { return };
        self.protocols.buffer_waits.uncount(&wait.client.id());
        wait.gate.store(outcome, Ordering::Relaxed);
        if has_source {
            self.handle.remove(wait.source);
        }
        if let Some(timer) = wait.timer {
            self.timers.cancel(timer);
        }
        let display = self.display_handle.clone();
        ClientData::of(&wait.client).compositor.blocker_cleared(self, &display);
    }

    /// A sync point did not come in time: the surface stays as it was until its client commits
    /// again, and then shows what both commits say, as Smithay merges them.
    pub fn sync_point_overdue(&mut self, id: u64) {
        debug!("a client's sync point did not come within 10 s; its commit is not applied");
        self.end_wait(id, CANCELLED, true);
    }

    /// A surface was destroyed: none of its commits waits any more. The commit of a subsurface may
    /// be a part of its parent's, which is applied.
    pub(super) fn end_waits_of(&mut self, surface: &WlSurface) {
        let waits = self.protocols.buffer_waits.waits.iter();
        let ended: Vec<u64> = waits.filter(|(_, wait)| wait.surface == *surface).map(|(id, _)| *id).collect();
        for id in ended {
            self.end_wait(id, RELEASED, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use smithay::reexports::calloop::generic::Generic;
    use smithay::reexports::calloop::{Mode, Poll, PostAction, Readiness, Token, TokenFactory};

    use super::*;
    use crate::tests::{until, Fixture, TestClient};

    /// Fires when its descriptor is readable, once.
    struct Fence(Generic<OwnedFd>);

    impl EventSource for Fence {
        type Event = ();
        type Metadata = ();
        type Ret = std::io::Result<()>;
        type Error = std::io::Error;

        fn process_events<F>(
            &mut self,
            readiness: Readiness,
            token: Token,
            mut callback: F,
        ) -> std::io::Result<PostAction>
        where
            F: FnMut((), &mut ()) -> std::io::Result<()>,
        {
            self.0.process_events(readiness, token, |_, _| Ok(PostAction::Remove))?;
            callback((), &mut ())?;
            Ok(PostAction::Remove)
        }

        fn register(
            &mut self,
            poll: &mut Poll,
            tokens: &mut TokenFactory,
        ) -> smithay::reexports::calloop::Result<()> {
            self.0.register(poll, tokens)
        }

        fn reregister(
            &mut self,
            poll: &mut Poll,
            tokens: &mut TokenFactory,
        ) -> smithay::reexports::calloop::Result<()> {
            self.0.reregister(poll, tokens)
        }

        fn unregister(&mut self, poll: &mut Poll) -> smithay::reexports::calloop::Result<()> {
            self.0.unregister(poll)
        }
    }

    /// Has the next commit of the client's window wait. Returns what ends the wait when written to.
    fn wait(fixture: &mut Fixture, timeout: Option<Duration>) -> OwnedFd {
        let fence = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).expect("eventfd");
        let source = Fence(Generic::new(fence.try_clone().expect("a copy"), Interest::READ, Mode::Level));
        let state = &mut fixture.compositor.state;
        let surface = state.shell.windows()[0].surface().expect("a surface");
        let client = surface.client().expect("a client");
        state.add_wait(&surface, client, source, timeout);
        fence
    }

    fn shown(color: u32) -> (Fixture, TestClient) {
        let mut fixture = Fixture::pair();
        let mut client = fixture.client();
        client.open("window", color, Some("HEADLESS-1"));
        until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle("HEADLESS-1") == color);
        (fixture, client)
    }

    const RED: u32 = 0x00ff_0000;
    const GREEN: u32 = 0x0000_ff00;

    #[test]
    fn commit_is_applied_when_its_wait_ends() {
        let (mut fixture, mut client) = shown(RED);
        let fence = wait(&mut fixture, None);
        let surface = client.windows()[0].surface.clone();
        client.show(&surface, (800, 600), GREEN);
        fixture.run_for(Duration::from_millis(50));
        client.poll();
        fixture.run_for(Duration::from_millis(50));
        assert_eq!(fixture.middle("HEADLESS-1"), RED);
        rustix::io::write(&fence, &1u64.to_ne_bytes()).expect("an event");
        until(&mut fixture, &mut client, "the new frame", |fixture, _| fixture.middle("HEADLESS-1") == GREEN);
        assert!(fixture.compositor.state.protocols.buffer_waits.waits.is_empty());
        assert!(fixture.compositor.state.protocols.buffer_waits.counts.is_empty());
    }

    #[test]
    fn sync_point_that_does_not_come_leaves_the_surface_until_the_next_commit() {
        let (mut fixture, mut client) = shown(RED);
        let _fence = wait(&mut fixture, Some(Duration::from_millis(100)));
        let surface = client.windows()[0].surface.clone();
        client.show(&surface, (800, 600), GREEN);
        until(&mut fixture, &mut client, "the end of the wait", |fixture, _| {
            fixture.compositor.state.protocols.buffer_waits.waits.is_empty()
        });
        assert_eq!(fixture.middle("HEADLESS-1"), RED);
        client.show(&surface, (800, 600), GREEN);
        until(&mut fixture, &mut client, "the new frame", |fixture, _| fixture.middle("HEADLESS-1") == GREEN);
    }

    #[test]
    fn waits_end_with_their_surface() {
        let (mut fixture, mut client) = shown(RED);
        let _fence = wait(&mut fixture, Some(Duration::from_secs(100)));
        client.commit(0);
        client.close(0);
        until(&mut fixture, &mut client, "the end of the wait", |fixture, _| {
            fixture.compositor.state.protocols.buffer_waits.waits.is_empty()
        });
        assert!(fixture.compositor.state.protocols.buffer_waits.counts.is_empty());
    }

    #[test]
    fn client_with_too_many_waits_is_disconnected() {
        let (mut fixture, mut client) = shown(RED);
        let fences: Vec<OwnedFd> = (0..=MAX_WAITS).map(|_| wait(&mut fixture, None)).collect();
        assert_eq!(fixture.compositor.state.protocols.buffer_waits.waits.len(), MAX_WAITS);
        until(&mut fixture, &mut client, "the disconnect", |_, client| client.disconnected);
        until_quiet(&mut fixture);
        drop(fences);
    }

    fn until_quiet(fixture: &mut Fixture) {
        fixture.until("no wait", |fixture| fixture.compositor.state.protocols.buffer_waits.waits.is_empty());
    }
}
