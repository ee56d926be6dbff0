//! Messages from the server that no request asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Calibration, Client, CloseReason, Display, Gpu, InputDevice, Window};

/// An event. `ping` and `goodbye` are sent to every client, the others to subscribed clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A heartbeat. The client must answer it by the request `pong`.
    Ping {
        /// To be repeated in `pong`.
        serial: u64,
    },
    /// The server ends this connection.
    Goodbye {
        /// Why.
        reason: CloseReason,
    },
    /// A display was added or blanked, or its state, mode, position or another setting changed.
    Display {
        /// The display after the change.
        display: Display,
    },
    /// The layout changed: a monitor was plugged or unplugged, or displays were reconfigured.
    Layout {
        /// What changed it, such as `hotplug` or `control`.
        cause: String,
        /// Names of the enabled displays after the change.
        enabled: Vec<String>,
    },
    /// A client connected.
    ClientConnected {
        /// The new client.
        client: Client,
    },
    /// The state of a client's connection changed.
    ClientState {
        /// The client after the change.
        client: Client,
    },
    /// A client's connection ended.
    ClientDisconnected {
        /// Id of the client.
        client: u64,
        /// Why.
        reason: CloseReason,
    },
    /// A window was opened or moved to another display, or its title changed.
    Window {
        /// The window after the change.
        window: Window,
    },
    /// A window was closed.
    WindowClosed {
        /// Id of the window.
        window: u64,
    },
    /// The keyboard focus changed.
    Focus {
        /// Id of the window that has it, if any.
        #[serde(default)]
        window: Option<u64>,
    },
    /// An input device was plugged in, or opened again after libseat enabled the session.
    InputDeviceAdded {
        /// The device.
        device: InputDevice,
    },
    /// An input device was unplugged, or closed because libseat disabled the session.
    InputDeviceRemoved {
        /// The device, as it was.
        device: InputDevice,
    },
    /// A calibration shows another target, or ended.
    Calibration {
        /// Where it is.
        calibration: Calibration,
    },
    /// A GPU was opened.
    GpuAdded {
        /// The GPU.
        gpu: Gpu,
    },
    /// A GPU was closed: it was unplugged, or the firmware's framebuffer was replaced by a driver.
    GpuRemoved {
        /// The GPU, as it was.
        gpu: Gpu,
    },
    /// libseat disabled the session, on a VT switch away, or enabled it and the displays were
    /// configured again.
    Session {
        /// As [`session_active`](crate::Status::session_active).
        active: bool,
    },
    /// A program that the service started (`--exec`) ended. Either `exit_code` or `signal` is set.
    ProgramEnded {
        /// The shell command, as it was given.
        command: String,
        /// Process id that it had.
        pid: u32,
        /// Exit code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// Number of the signal that ended it (signal(7)).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// The configuration or a profile has an error. The rest of the file applies.
    ConfigError {
        /// The error with file and line.
        message: String,
    },
    /// The configuration was read and applied.
    ConfigApplied,
    /// Events were lost: this client read too slowly, and its subscription ended.
    EventsLost,
    /// An event of a later version of the protocol.
    #[serde(other)]
    Unknown,
}
