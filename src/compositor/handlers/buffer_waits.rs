//! Commits that wait until the client's GPU has finished the buffer. Drawing would wait for it, and
//! all displays with it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::Arc;
use std::time::Duration;

use smithay::backend::renderer::sync::Fence as _;
use smithay::reexports::calloop::{EventSource, Interest, RegistrationToken};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, Resource, Weak};
use smithay::wayland::compositor::{
    add_blocker, with_states, Blocker, BlockerState, BufferAssignment, SurfaceAttributes,
};
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::drm_syncobj::DrmSyncobjCachedState;
use tracing::{debug, warn};

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
    client: Rc<Client>,
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
        let BufferWaits { next, waits } = &mut self.protocols.buffer_waits;
        let id = *next;
        *next += 1;
        let of_client = waits.iter().filter(|(_, wait)| wait.client.id() == client.id());
        let oldest = (of_client.clone().count() >= MAX_WAITS).then(|| of_client.map(|(id, _)| *id).next());
        if let Some(oldest) = oldest.flatten() {
            self.end_wait(oldest, CANCELLED, true);
        }
        let inserted = self.handle.insert_source(source, move |(), _, state: &mut State| {
            state.end_wait(id, RELEASED, false);
            Ok(())
        });
        let source = match inserted {
            Ok(source) => source,
            Err(error) => {
                warn!(error = %error.error, "cannot wait for a buffer; drawing waits for it");
                return;
            }
        };
        let timer = timeout.map(|timeout| {
            let at = self.now() + timeout;
            self.timers.at(at, Deadline::SyncPointOverdue(id))
        });
        let gate = Arc::new(AtomicU8::new(PENDING));
        add_blocker(surface, Gate(gate.clone()));
        let wait = BufferWait { client: Rc::new(client), surface: surface.downgrade(), gate, source, timer };
        self.protocols.buffer_waits.waits.insert(id, wait);
    }

    /// Ends the wait of a commit, which is applied or discarded. `has_source` says that its event
    /// source is still registered.
    fn end_wait(&mut self, id: u64, outcome: u8, has_source: bool) {
        let Some(wait) = self.protocols.buffer_waits.waits.remove(&id) else { return };
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

    /// A sync point did not come in time: its commit is discarded, and the surface stays as it was.
    pub fn sync_point_overdue(&mut self, id: u64) {
        debug!("a client's sync point did not come within 10 s; its commit is discarded");
        self.end_wait(id, CANCELLED, true);
    }

    /// A surface was destroyed: none of its commits waits any more.
    pub(super) fn end_waits_of(&mut self, surface: &WlSurface) {
        let waits = self.protocols.buffer_waits.waits.iter();
        let ended: Vec<u64> = waits.filter(|(_, wait)| wait.surface == *surface).map(|(id, _)| *id).collect();
        for id in ended {
            self.end_wait(id, CANCELLED, true);
        }
    }
}
