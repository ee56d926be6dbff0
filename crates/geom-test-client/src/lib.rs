//! The common part of the project's Wayland test clients: the lab's `geom-lab-client`, and the
//! clients of the in-process tests.
//!
//! It binds the basic globals, opens toplevels of a known color, creates buffers and records
//! events. A client embeds [`ClientState`] in a state of its own, implements [`Handler`], and calls
//! [`delegate_test_client!`] once. Requests and events of other protocols are the client's own.
#![warn(missing_docs)]

mod buffer;
mod dispatch;
mod state;
pub mod wire;

pub use buffer::{Buffer, Memory};
pub use state::{ClientState, Output, Toplevel, Window};
#[doc(hidden)]
pub use {wayland_client, wayland_protocols};

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result};
use wayland_client::backend::{ReadEventsGuard, WaylandError};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_callback::WlCallback;
use wayland_client::protocol::wl_compositor::WlCompositor;
use wayland_client::protocol::wl_output::WlOutput;
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_shm::WlShm;
use wayland_client::protocol::wl_shm_pool::WlShmPool;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle};
use wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation;
use wayland_protocols::wp::presentation_time::client::wp_presentation_feedback::WpPresentationFeedback;
use wayland_protocols::xdg::shell::client::xdg_surface::XdgSurface;
use wayland_protocols::xdg::shell::client::xdg_toplevel::XdgToplevel;
use wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase;

/// An event that [`ClientState`] has recorded. Windows are indexes of [`ClientState::windows`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// An output sent its name.
    OutputAdded(String),
    /// An output's global was removed.
    OutputRemoved(String),
    /// A window's surface entered an output.
    Enter(usize, String),
    /// A window's surface left an output.
    Leave(usize, String),
    /// A window was configured; the configure event is acknowledged.
    Configured(usize),
    /// The compositor asks to close a window.
    CloseRequested(usize),
    /// The compositor no longer reads a buffer.
    BufferReleased(WlBuffer),
    /// A frame callback is done.
    FrameDone,
    /// A frame was presented.
    Presented {
        /// When it was committed, on CLOCK_MONOTONIC.
        committed: Duration,
        /// When it was presented, on the same clock.
        presented: Duration,
        /// The output's refresh interval; zero if it is not known.
        refresh: Duration,
    },
    /// A frame was not presented.
    Discarded,
}

/// The state of a client that embeds [`ClientState`].
pub trait Handler:
    AsMut<ClientState>
    + Dispatch<WlRegistry, ()>
    + Dispatch<WlCompositor, ()>
    + Dispatch<WlShm, ()>
    + Dispatch<WlShmPool, ()>
    + Dispatch<WlBuffer, ()>
    + Dispatch<WlOutput, ()>
    + Dispatch<WlSurface, ()>
    + Dispatch<WlCallback, ()>
    + Dispatch<XdgWmBase, ()>
    + Dispatch<XdgSurface, Option<usize>>
    + Dispatch<XdgToplevel, usize>
    + Dispatch<WpPresentation, ()>
    + Dispatch<WpPresentationFeedback, Duration>
    + 'static
{
    /// Binds a global that [`ClientState`] does not use.
    fn on_global(
        &mut self,
        _registry: &WlRegistry,
        _name: u32,
        _interface: &str,
        _version: u32,
        _queue: &QueueHandle<Self>,
    ) {
    }

    /// Called after an event was recorded.
    fn on_event(&mut self, event: Event, queue: &QueueHandle<Self>);
}

/// Implements the dispatch of [`ClientState`]'s events for a state that is a [`Handler`].
#[macro_export]
macro_rules! delegate_test_client {
    (@each $state:ty: $($interface:ty = $data:ty;)*) => {
        $($crate::wayland_client::delegate_dispatch!($state: [$interface: $data] => $crate::ClientState);)*
    };
    ($state:ty) => {
        $crate::delegate_test_client! { @each $state:
            $crate::wayland_client::protocol::wl_registry::WlRegistry = ();
            $crate::wayland_client::protocol::wl_compositor::WlCompositor = ();
            $crate::wayland_client::protocol::wl_shm::WlShm = ();
            $crate::wayland_client::protocol::wl_shm_pool::WlShmPool = ();
            $crate::wayland_client::protocol::wl_buffer::WlBuffer = ();
            $crate::wayland_client::protocol::wl_output::WlOutput = ();
            $crate::wayland_client::protocol::wl_surface::WlSurface = ();
            $crate::wayland_client::protocol::wl_callback::WlCallback = ();
            $crate::wayland_protocols::xdg::shell::client::xdg_wm_base::XdgWmBase = ();
            $crate::wayland_protocols::xdg::shell::client::xdg_surface::XdgSurface = Option<usize>;
            $crate::wayland_protocols::xdg::shell::client::xdg_toplevel::XdgToplevel = usize;
            $crate::wayland_protocols::wp::presentation_time::client::wp_presentation::WpPresentation = ();
            $crate::wayland_protocols::wp::presentation_time::client::wp_presentation_feedback::WpPresentationFeedback = std::time::Duration;
        }
    };
}

/// A connection, its event queue, and the client's state.
pub struct Client<S: Handler> {
    connection: Connection,
    queue: EventQueue<S>,
    /// The client's state.
    pub state: S,
}

impl<S: Handler> Client<S> {
    /// Connects to the compositor that the environment names.
    ///
    /// # Errors
    /// If no compositor accepts the connection.
    pub fn connect_to_env(state: S) -> Result<Self> {
        Ok(Self::new(Connection::connect_to_env().context("connect to the compositor")?, state))
    }

    /// Uses a connected socket.
    ///
    /// # Errors
    /// If the socket cannot be used.
    pub fn from_socket(stream: UnixStream, state: S) -> Result<Self> {
        Ok(Self::new(Connection::from_socket(stream)?, state))
    }

    fn new(connection: Connection, state: S) -> Self {
        let queue = connection.new_event_queue();
        connection.display().get_registry(&queue.handle(), ());
        Self { connection, queue, state }
    }

    /// Returns the handle that requests take.
    pub fn handle(&self) -> QueueHandle<S> {
        self.queue.handle()
    }

    /// Returns the connection, for event queues of the client's own.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Sends buffered requests.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn flush(&self) -> Result<()> {
        Ok(self.connection.flush()?)
    }

    /// Waits until the compositor has processed all requests so far, and handles the events.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn roundtrip(&mut self) -> Result<()> {
        self.queue.roundtrip(&mut self.state)?;
        Ok(())
    }

    /// Waits for events and handles them.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn wait(&mut self) -> Result<()> {
        self.queue.blocking_dispatch(&mut self.state)?;
        Ok(())
    }

    /// Sends buffered requests and reads the events that have arrived into their queues, without
    /// waiting, and handles none.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn read(&self) -> Result<()> {
        let _ = self.connection.flush();
        match self.connection.prepare_read().map(ReadEventsGuard::read) {
            Some(Err(WaylandError::Io(error))) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Some(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Sends buffered requests and handles the events that have arrived, without waiting.
    ///
    /// # Errors
    /// If the connection is broken.
    pub fn poll(&mut self) -> Result<()> {
        if let Err(error) = self.read() {
            // Events that arrived before the connection broke still count.
            let _ = self.queue.dispatch_pending(&mut self.state);
            return Err(error);
        }
        self.queue.dispatch_pending(&mut self.state)?;
        let _ = self.connection.flush();
        Ok(())
    }
}

/// Returns the time on CLOCK_MONOTONIC, the clock of presentation times.
pub fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
