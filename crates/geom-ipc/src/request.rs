//! From client to server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConnectType, Error, ErrorKind};

/// A request and the id that its reply will carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FromClient {
    pub id: u64,
    #[serde(flatten)]
    pub request: Request,
}

/// What is wished of a display; what is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DisplayChange {
    /// `1920x1080` or `1920x1080@59.94` of the display's list; `1920x1080@60 cvt` (or `cvt-rb`, `cvt-rb2`) by VESA's formula; a modeline;
    /// `preferred` takes a wish back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Device pixels for one logical pixel, from 0.25 to 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// As [`crate::Display::transform`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// The top left corner in the layout's logical pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<(i32, i32)>,
    /// `right-of`, `left-of`, `above` or `below` and a display's name; instead of `position`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// The display whose picture to show; empty for one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<bool>,
    /// As [`crate::Link::color_space`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color_space: Option<String>,
    /// Bits of a colour on the cable, from 6 to 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u8>,
    /// As [`crate::Link::rgb_range`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rgb_range: Option<String>,
    /// As [`crate::Link::content_type`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// As [`crate::Link::scaling`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<String>,
    /// Whether the refresh may vary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrr: Option<Vrr>,
    /// The colour temperature of white in kelvin, from 1000 to 10000; 6500 leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white_point: Option<u16>,
    /// Of the light that it could give, from 0.1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brightness: Option<f64>,
    /// Whether the configured night light is for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub night_light: Option<bool>,
}

/// When the refresh may vary: always, never, or `"fullscreen"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Vrr {
    Always(bool),
    While(VrrWhile),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VrrWhile {
    /// While a window has the whole display.
    Fullscreen,
}

/// What a client can ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// The first request. Answer: `welcome`.
    Hello {
        /// The versions that the client speaks.
        versions: Vec<u32>,
        #[serde(default)]
        name: String,
        /// The configuration's where it is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connect_type: Option<ConnectType>,
        /// Of an earlier session that is to be resumed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    /// Answer: `displays`.
    Displays,
    /// Answer: `clients`.
    Clients,
    /// Answer: `windows`.
    Windows,
    /// Answer: `status`.
    Status,
    /// Figures of frames, connections and the process. Answer: `metrics`.
    Metrics,
    /// Changes a display until the configuration is read again. Answer: `displays`, as they are then.
    SetDisplay {
        display: String,
        #[serde(flatten)]
        change: Box<DisplayChange>,
        /// Taken back after so many seconds, from 1 to 600, unless `confirm_display` comes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_within: Option<u32>,
    },
    /// Keeps a change that was to be confirmed, or takes it back now. Answer: `done`.
    ConfirmDisplay {
        display: String,
        keep: bool,
    },
    FocusWindow {
        window: u64,
    },
    /// Moves a window to a display, its home from then on.
    PlaceWindow {
        window: u64,
        display: String,
    },
    /// Asks a window's client to close it.
    CloseWindow {
        window: u64,
    },
    /// Sends a heartbeat now. Answer: `pong` with the round trip, when the client answers.
    Ping {
        client: u64,
    },
    /// Asks a client to leave, and cuts its connection at the configured deadline.
    Disconnect {
        client: u64,
    },
    /// Cuts a client's connection and kills its process.
    Kill {
        client: u64,
    },
    /// Switches a display's light off, or on again; all else stays as it was. Answer: `done`.
    BlankDisplay {
        /// Or a pattern.
        display: String,
        blank: bool,
    },
    /// Shows each display's name on it, large, for so many seconds (1 to 60).
    Identify {
        #[serde(default = "five")]
        seconds: u32,
    },
    /// A PNG of what a display shows. With `path` (absolute; created anew, in a folder that the server may write
    /// to) it is written there; without, the reply comes with a descriptor of the file (SCM_RIGHTS, unix(7)).
    Screenshot {
        display: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// Answered when a frame has come on a display: at once where one had.
    AwaitFrame,
    /// Reads the configuration again.
    Reload,
    /// Another user's profile applies from now on; without one, the present user's is read again. Answer: `done`.
    UseProfile {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
    },
    /// Another program takes the service's place, the installed one where none is named: it gets the sockets, sessions and places, and clients
    /// have to come back as after a crash. `program` is absolute and answers `--version`. Answer: `done`, before that happens.
    Upgrade {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    /// Ends the service.
    Stop,
    /// Sends every event from now on.
    Subscribe,
    Unsubscribe,
    /// The answer to the event `ping`.
    Pong {
        serial: u64,
    },
    /// A heartbeat of the client's: the answer tells it that the server lives.
    Heartbeat,
    /// Ends the session: nothing of it is kept.
    Goodbye,
}

fn five() -> u32 {
    5
}

/// A line that is no request, with the id to answer to where it had one.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestError {
    pub id: Option<u64>,
    pub error: Error,
}

impl FromClient {
    /// Reads one line.
    ///
    /// # Errors
    /// Says what is wrong with it: no UTF-8, no JSON, no id, an unknown request, wrong fields.
    pub fn parse(line: &[u8]) -> Result<Self, RequestError> {
        let fail = |id, kind, message: String| RequestError { id, error: Error { kind, message } };
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
    /// Whether it changes something, and so needs the right to.
    pub fn changes(&self) -> bool {
        match self {
            Self::Hello { .. }
            | Self::Displays
            | Self::Clients
            | Self::Windows
            | Self::Status
            | Self::Metrics
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Pong { .. }
            | Self::Heartbeat
            | Self::AwaitFrame
            | Self::Goodbye => false,
            // A screenshot changes nothing and shows everything.
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
        FromClient::parse(line.as_bytes()).err().map(|wrong| (wrong.id, wrong.error.kind))
    }

    #[test]
    fn wrong_lines_say_what_is_wrong() {
        assert_eq!(kind("{"), Some((None, ErrorKind::BadMessage)));
        assert_eq!(kind("7"), Some((None, ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"request":"status"}"#), Some((None, ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"id":-1,"request":"status"}"#), Some((None, ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"id":1}"#), Some((Some(1), ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"id":1,"request":"dance"}"#), Some((Some(1), ErrorKind::UnknownRequest)));
        assert_eq!(kind(r#"{"id":1,"request":"ping","client":"x"}"#), Some((Some(1), ErrorKind::BadMessage)));
        assert_eq!(kind(r#"{"id":1,"request":"status","unheard_of":[1,2]}"#), None);
    }

    #[test]
    fn what_is_left_out_stays() {
        let line = br#"{"id":3,"request":"set_display","display":"HDMI-A-1","scale":2}"#;
        let change = Box::new(DisplayChange { scale: Some(2.0), ..DisplayChange::default() });
        let request = Request::SetDisplay { display: "HDMI-A-1".into(), change, confirm_within: None };
        assert_eq!(FromClient::parse(line), Ok(FromClient { id: 3, request }));
    }

    /// docs/control.md shows what is said; what it shortens with "…" is not whole JSON.
    #[test]
    fn the_documentation_s_examples() {
        let text = include_str!("../../../docs/control.md");
        let (mut asked, mut answered) = (0, 0);
        for line in text.lines().filter(|line| !line.contains('…')) {
            if let Some(request) = line.strip_prefix("> ") {
                let parsed = FromClient::parse(request.as_bytes());
                let unknown = request.contains("dance");
                assert!(parsed.is_ok() != unknown, "{request}: {parsed:?}");
                asked += 1;
            } else if let Some(message) = line.strip_prefix("< ") {
                assert!(crate::FromServer::parse(message.as_bytes()).is_ok(), "{message}");
                answered += 1;
            }
        }
        assert!(asked >= 4 && answered >= 2, "{asked} {answered}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = FromClient::parse(&line);
        }
    }
}
