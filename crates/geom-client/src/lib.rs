//! Starts and commands geom_compositor and hears what it does, over its control socket.
//!
//! Three ways, from the easiest:
//!
//! - [`Compositor`]: starts the service where none runs, and ends what it started.
//! - [`Session`]: a connection for any thread, kept alive and resumed by a thread of its own.
//! - [`Client`]: a connection without a thread, for programs with an event loop of their own and for short ones.
//!
//! ```no_run
//! use geom_client::{Client, ConnectOptions};
//! use geom_ipc::Request;
//!
//! let mut client = Client::connect(&ConnectOptions { name: "my program".into(), ..Default::default() })?;
//! for display in client.displays()? {
//!     println!("{} {:?}", display.name, display.state);
//! }
//! client.request(Request::Identify { seconds: 3 })?;
//! # Ok::<(), geom_client::Error>(())
//! ```
//!
//! The C ABI is [`ffi`]'s; its header is `include/geom_compositor.h`.

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
