//! From server to client: what happens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Client, Display, EndReason, Window};

/// What happened. `ping` and `goodbye` come to every client, the others to those that subscribed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Are you there? Answered by the request `pong`.
    Ping {
        serial: u64,
    },
    /// The server ends this connection, and why.
    Goodbye {
        reason: EndReason,
    },
    /// A display appeared or changed: state, mode, place.
    Display {
        display: Display,
    },
    /// A cable was plugged in or pulled, or the layout changed for another cause; the displays that are lit.
    Layout {
        cause: String,
        lit: Vec<String>,
    },
    ClientConnected {
        client: Client,
    },
    /// Its heartbeat state changed.
    ClientState {
        client: Client,
    },
    ClientGone {
        client: u64,
        reason: EndReason,
    },
    /// A window opened, moved, or changed its title.
    Window {
        window: Window,
    },
    WindowClosed {
        window: u64,
    },
    /// The window that has the keyboard now.
    Focus {
        #[serde(default)]
        window: Option<u64>,
    },
    /// A mistake in the configuration, with file and line.
    ConfigError {
        message: String,
    },
    /// The configuration was read again.
    ConfigApplied,
    /// This client read too slowly: it is no longer subscribed and has missed events.
    StreamLost,
    /// Of a later version.
    #[serde(other)]
    Unknown,
}
