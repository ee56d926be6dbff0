//! Client library of geom_compositor: starts and commands the service, and receives its events,
//! over its control socket.
//!
//! Three types, from the easiest to the most flexible:
//!
//! - [`Compositor`] starts the service if none runs, and stops what it started.
//! - [`Session`] is a connection for any thread. A thread of its own answers heartbeats and resumes
//!   the session when the connection breaks.
//! - [`Client`] is a connection without a thread, for short programs and for programs with an event
//!   loop.
//!
//! ```no_run
//! use geom_client::{Client, ConnectOptions};
//! use geom_ipc::Request;
//!
//! let options = ConnectOptions { name: "my program".into(), ..ConnectOptions::default() };
//! let mut client = Client::connect(&options)?;
//! for display in client.displays()? {
//!     println!("{} {:?}", display.name, display.state);
//! }
//! client.request(Request::Identify { seconds: 3 })?;
//! # Ok::<(), geom_client::Error>(())
//! ```
//!
//! `examples/` in the repository has whole programs. The C ABI is in [`ffi`]; its header is
//! `include/geom_compositor.h`.

#![warn(missing_docs)]

mod client;
mod compositor;
mod error;
mod events;
pub mod ffi;
mod service;
mod session;
mod wait;

pub use client::{Client, ConnectOptions};
pub use compositor::{Compositor, Config};
pub use error::Error;
pub use events::Events;
pub use geom_ipc;
pub use session::Session;
