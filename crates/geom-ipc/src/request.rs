//! Messages from clients to the server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConnectType, Error, ErrorKind};

/// A request with the id that its reply carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientMessage {
    /// Chosen by the client, and unique among its unanswered requests.
    pub id: u64,
    /// The request.
    #[serde(flatten)]
    pub request: Request,
}

/// Settings of a display to change. Settings that are left out do not change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DisplayChange {
    /// `1920x1080` or `1920x1080@59.94` from the display's mode list; `1920x1080@60 cvt` (or
    /// `cvt-rb`, `cvt-rb2`) for a mode by VESA's formula; a modeline; `preferred` for the mode that
    /// applies without this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Device pixels per logical pixel, from 0.25 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// Rotation and reflection, as [`transform` of `Display`](crate::Display::transform).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// Top left corner in logical pixels of the layout, each coordinate from -32768 to 32767.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<(i32, i32)>,
    /// `right-of`, `left-of`, `above` or `below`, a space, and the name of another display. Used if
    /// `position` is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_position: Option<String>,
    /// Name of the display to mirror; the empty string ends mirroring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// `false` disables the display: it leaves the layout. To power it down and keep it in the
    /// layout, use [`blank_display`](Request::BlankDisplay).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Color space, as [`color_space` of `Signal`](crate::Signal::color_space).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color_space: Option<String>,
    /// Upper limit of bits per color channel, from 6 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u8>,
    /// Quantization range, as [`rgb_range` of `Signal`](crate::Signal::rgb_range).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rgb_range: Option<String>,
    /// Content type, as [`content_type` of `Signal`](crate::Signal::content_type).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Scaling mode of the panel, as [`scaling` of `Signal`](crate::Signal::scaling).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<String>,
    /// Variable refresh rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrr: Option<Vrr>,
    /// Color temperature of white in kelvin, from 1000 to 10000. 6500 keeps the monitor's white.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white_point: Option<u16>,
    /// Brightness as a fraction of the display's maximum, from 0.1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brightness: Option<f64>,
    /// Whether the configured night light applies to the display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub night_light: Option<bool>,
}

/// When variable refresh rate is enabled: `true`, `false` or `"fullscreen"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Vrr {
    /// Always, or never.
    Always(bool),
    /// While a condition holds.
    When(VrrCondition),
}

/// A condition for variable refresh rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VrrCondition {
    /// A fullscreen window is on the display.
    Fullscreen,
}

/// A request. Unless its documentation says otherwise, the response is `done`.
///
/// A field that names a display takes each of its names: the connector, the EDID hash, `make model
/// serial`, the port, an alias of the configuration, or a pattern with `*`. A name that several
/// displays match is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Begins or resumes a session. The first request of each connection. Response: `welcome`.
    Hello {
        /// Protocol versions that the client speaks.
        versions: Vec<u32>,
        /// Name of the client, for people. At most 256 characters are kept.
        #[serde(default)]
        name: String,
        /// Connection type. Left out, the configuration decides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connect_type: Option<ConnectType>,
        /// Token of the session to resume.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// Lists the displays. Response: `displays`.
    Displays,
    /// Lists the connections. Response: `clients`.
    Clients,
    /// Lists the toplevel windows. Response: `windows`.
    Windows,
    /// Lists the input devices. Response: `input_devices`.
    InputDevices,
    /// Calibrates a touchscreen or a pen display: its display shows targets, one after the other,
    /// and events say where it is. It ends with a matrix, or without one if this client is
    /// disconnected, the device or the display changes, or nothing is touched for a minute. There
    /// is one at a time. Response: `calibration`.
    Calibrate {
        /// Name of the device, or its kernel name. Left out, it is the only touchscreen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    },
    /// Ends the calibration without a matrix.
    CancelCalibration,
    /// Queries the state of the service. Response: `status`.
    Status,
    /// Queries the metrics of frames, connections and the process. Response: `metrics`.
    Metrics,
    /// Changes a display until the configuration or a profile is read again. A change that the
    /// kernel, the connector or the monitor refuses is an error, and the display stays as it was.
    /// Response: `displays`, after the change.
    SetDisplay {
        /// Name of the display.
        display: String,
        /// The settings to change.
        #[serde(flatten)]
        change: Box<DisplayChange>,
        /// Seconds, from 1 to 600, after which the change is rolled back unless `confirm_display`
        /// arrives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_within: Option<u32>,
    },
    /// Confirms a pending change of a display, or rolls it back now.
    ConfirmDisplay {
        /// Name of the display.
        display: String,
        /// Whether to keep the change.
        keep: bool,
    },
    /// Gives a window the keyboard focus.
    FocusWindow {
        /// Id of the window.
        window: u64,
    },
    /// Moves a window to a display and assigns it to that display.
    PlaceWindow {
        /// Id of the window.
        window: u64,
        /// Name of the display.
        display: String,
    },
    /// Asks a window's client to close the window.
    CloseWindow {
        /// Id of the window.
        window: u64,
    },
    /// Sends a heartbeat to a client now. Response: `pong`, when the client answers.
    Ping {
        /// Id of the client.
        client: u64,
    },
    /// Asks a client to close, and disconnects it at the configured deadline.
    Disconnect {
        /// Id of the client.
        client: u64,
    },
    /// Disconnects a client and kills its process.
    Kill {
        /// Id of the client.
        client: u64,
    },
    /// Powers displays down or up (DPMS). They stay part of the layout.
    BlankDisplay {
        /// Name of a display, or a pattern that may match several.
        display: String,
        /// Whether to power them down.
        blank: bool,
    },
    /// Shows each display's name on it.
    Identify {
        /// For how many seconds, from 1 to 60.
        #[serde(default = "default_identify_seconds")]
        seconds: u32,
    },
    /// Takes a screenshot of a display as a PNG file. Response: `screenshot`, with a file
    /// descriptor of the PNG in memory (SCM_RIGHTS, unix(7)).
    ///
    /// The server writes no file by a path: it may write where the client may not.
    Screenshot {
        /// Name of the display.
        display: String,
    },
    /// Waits until a frame is presented on any display. The response is immediate if one was
    /// presented before.
    AwaitFrame,
    /// Reads the configuration file again.
    Reload,
    /// Applies another user's profile.
    UseProfile {
        /// Name of the user. Left out, the current user's profile is read again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// Replaces the service by another program, which takes over its sockets, sessions and window
    /// placement. Wayland clients lose their connection, as after a crash. The response comes
    /// before the program takes over.
    Upgrade {
        /// Absolute path of a program that answers `--version` as geom_compositor does. Left out,
        /// the installed one. Only root and the service's own user may name one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    /// Stops the service.
    Stop,
    /// Subscribes to all events. Each event after the response arrives.
    Subscribe,
    /// Ends the subscription.
    Unsubscribe,
    /// Answers the event `ping`.
    Pong {
        /// The serial of the `ping`.
        serial: u64,
    },
    /// A heartbeat of the client. The response shows that the server is alive.
    Heartbeat,
    /// Ends the session. The server keeps nothing of it.
    Goodbye,
}

fn default_identify_seconds() -> u32 {
    5
}

/// A line that is not a request.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestError {
    /// The id for the reply, if the line has one.
    pub id: Option<u64>,
    /// The error for the reply.
    pub error: Error,
}

/// The length of a request's name in bytes, at most.
const MAX_NAME: usize = 64;
/// The length of an error's message in bytes, at most: it may quote a value of the request.
const MAX_MESSAGE: usize = 512;

/// Cuts a message that is too long.
fn shortened(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

impl ClientMessage {
    /// Parses one line, with or without its newline.
    ///
    /// # Errors
    /// [`ErrorKind::BadMessage`] if the line is not UTF-8 or not a JSON object, has no id or has
    /// wrong fields; [`ErrorKind::UnknownRequest`].
    pub fn parse(line: &[u8]) -> Result<Self, RequestError> {
        let fail = |id, kind, message: String| {
            let message = shortened(message);
            RequestError { id, error: Error { kind, message } }
        };
        let value: serde_json::Value = serde_json::from_slice(line)
            .map_err(|error| fail(None, ErrorKind::BadMessage, format!("not a JSON object: {error}")))?;
        let Some(id) = value.get("id").and_then(serde_json::Value::as_u64) else {
            let message = "a request needs an \"id\", a whole number from 0".to_owned();
            return Err(fail(None, ErrorKind::BadMessage, message));
        };
        let Some(name) = value.get("request").and_then(serde_json::Value::as_str).map(str::to_owned) else {
            let message = "a request needs \"request\", its name".to_owned();
            return Err(fail(Some(id), ErrorKind::BadMessage, message));
        };
        if name.len() > MAX_NAME {
            let message = format!("there is no request whose name has more than {MAX_NAME} bytes");
            return Err(fail(Some(id), ErrorKind::UnknownRequest, message));
        }
        serde_json::from_value(value).map_err(|error| {
            let error = error.to_string();
            if error.starts_with("unknown variant") {
                let message = format!("there is no request {name:?}; the documentation lists them");
                fail(Some(id), ErrorKind::UnknownRequest, message)
            } else {
                fail(Some(id), ErrorKind::BadMessage, format!("{name}: {error}"))
            }
        })
    }
}

impl Request {
    /// Returns whether the request needs permission to command: it changes something, or reveals
    /// what displays show.
    pub fn is_privileged(&self) -> bool {
        match self {
            Self::Hello { .. }
            | Self::Displays
            | Self::Clients
            | Self::Windows
            | Self::InputDevices
            | Self::Status
            | Self::Metrics
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Pong { .. }
            | Self::Heartbeat
            | Self::AwaitFrame
            | Self::Goodbye => false,
            // A screenshot changes nothing and reveals everything.
            Self::Screenshot { .. }
            | Self::SetDisplay { .. }
            | Self::ConfirmDisplay { .. }
            | Self::BlankDisplay { .. }
            | Self::FocusWindow { .. }
            | Self::PlaceWindow { .. }
            | Self::CloseWindow { .. }
            | Self::Ping { .. }
            | Self::Disconnect { .. }
            | Self::Kill { .. }
            | Self::Identify { .. }
            | Self::Calibrate { .. }
            | Self::CancelCalibration
            | Self::Reload
            | Self::UseProfile { .. }
            | Self::Upgrade { .. }
            | Self::Stop => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(line: &str) -> Option<(Option<u64>, ErrorKind)> {
        ClientMessage::parse(line.as_bytes()).err().map(|wrong| (wrong.id, wrong.error.kind))
    }

    #[test]
    fn invalid_lines_are_refused_with_kind_and_id() {
        assert_eq!(kind("{"), Some((None, ErrorKind::BadMessage)));
        assert_eq!(kind("7"), Some((None, ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"request":"status"}"#), Some((None, ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"id":-1,"request":"status"}"#), Some((None, ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"id":1}"#), Some((Some(1), ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"id":1,"request":"dance"}"#), Some((Some(1), ErrorKind::UnknownRequest)));
        assert_eq!(kind(r#"{"id":1,"request":"ping","client":"x"}"#), Some((Some(1), ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"id":1,"request":"status","unheard_of":[1,2]}"#), None);
    }

    /// An error quoted what it did not know: a reply as long as the request, made in the server's
    /// event loop.
    #[test]
    fn errors_do_not_quote_long_values() {
        let long = "ä".repeat(100_000);
        for line in [
            format!(r#"{{"id":1,"request":"{long}"}}"#),
            format!(r#"{{"id":1,"request":"ping","client":"{long}"}}"#),
            format!(r#"{{"id":1,"request":"hello","versions":[1],"connect_type":"{long}"}}"#),
        ] {
            let wrong = ClientMessage::parse(line.as_bytes()).expect_err("wrong");
            assert!(wrong.id == Some(1) && wrong.error.message.len() < 600);
        }
    }

    #[test]
    fn settings_left_out_are_none() {
        let line = br#"{"id":3,"request":"set_display","display":"HDMI-A-1","scale":2}"#;
        let change = Box::new(DisplayChange { scale: Some(2.0), ..DisplayChange::default() });
        let request = Request::SetDisplay { display: "HDMI-A-1".into(), change, confirm_within: None };
        assert_eq!(ClientMessage::parse(line), Ok(ClientMessage { id: 3, request }));
    }

    /// Lines of docs/control.md with "…" are abbreviated and not JSON.
    #[test]
    fn examples_in_the_documentation_parse() {
        let text = include_str!("../../../docs/control.md");
        let (mut asked, mut answered) = (0, 0);
        for line in text.lines().filter(|line| !line.contains('…')) {
            if let Some(request) = line.strip_prefix("> ") {
                let parsed = ClientMessage::parse(request.as_bytes());
                let unknown = request.contains("dance");
                assert!(parsed.is_ok() != unknown, "{request}: {parsed:?}");
                asked += 1;
            } else if let Some(message) = line.strip_prefix("< ") {
                assert!(crate::ServerMessage::parse(message.as_bytes()).is_ok(), "{message}");
                answered += 1;
            }
        }
        assert!(asked >= 4 && answered >= 2, "{asked} {answered}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = ClientMessage::parse(&line);
        }
    }
}
