//! Messages from the server: one reply to each request, and events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Calibration, Client, ConnectType, Display, Event, InputDevice, Metrics, Status, Window};

/// The kind of an error, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The line is not a request.
    BadMessage,
    /// The line is longer than [`MAX_LINE`](crate::MAX_LINE), 1 MiB. The server closes the
    /// connection.
    TooLong,
    /// The server does not know the request.
    UnknownRequest,
    /// The first request was not `hello`, or a later one was.
    Handshake,
    /// Client and server have no protocol version in common.
    Version,
    /// The client's user may not do this.
    NotAllowed,
    /// There is no such display, client, window or session.
    NotFound,
    /// A value is out of range or the display does not support it.
    BadValue,
    /// There are too many connections.
    OverLimit,
    /// The server tried and did not succeed.
    Failed,
    /// A kind of a later version of the protocol.
    #[serde(other)]
    Unknown,
}

/// The error that a request failed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Kind, for programs.
    pub kind: ErrorKind,
    /// Cause and remedy, for people.
    pub message: String,
}

impl Error {
    /// Creates an error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The response to `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// Protocol version of the connection: the newest that both sides speak.
    pub version: u32,
    /// Name and version of the server.
    pub server: String,
    /// Id of this connection among `clients`.
    pub connection: u64,
    /// Token that resumes this session after its socket broke. A secret.
    pub token: String,
    /// Whether an earlier session was resumed, with its subscription.
    pub resumed: bool,
    /// Milliseconds without a message from the client after which the server sends `ping`.
    pub heartbeat_ms: u64,
    /// Milliseconds without an answer to a `ping` after which the session is lost.
    pub lost_ms: u64,
    /// Connection type that applies.
    #[serde(default)]
    pub connect_type: Option<ConnectType>,
}

/// The result of a request that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// The request was carried out and has no other result.
    Done,
    /// To [`hello`](crate::Request::Hello).
    Welcome(Welcome),
    /// To [`displays`](crate::Request::Displays) and [`set_display`](crate::Request::SetDisplay).
    Displays(Vec<Display>),
    /// To [`clients`](crate::Request::Clients).
    Clients(Vec<Client>),
    /// To [`windows`](crate::Request::Windows).
    Windows(Vec<Window>),
    /// To [`input_devices`](crate::Request::InputDevices).
    InputDevices(Vec<InputDevice>),
    /// To [`calibrate`](crate::Request::Calibrate).
    Calibration(Calibration),
    /// To [`status`](crate::Request::Status).
    Status(Box<Status>),
    /// To [`metrics`](crate::Request::Metrics).
    Metrics(Metrics),
    /// To [`ping`](crate::Request::Ping).
    Pong {
        /// Round-trip time in microseconds.
        rtt_us: u64,
    },
    /// To [`screenshot`](crate::Request::Screenshot). Comes with a file descriptor of the
    /// PNG.
    Screenshot {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
}

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// Id of the request. `null` if the request had no valid id, and if the server refuses the
    /// connection.
    #[serde(default)]
    pub id: Option<u64>,
    /// Response or error.
    #[serde(flatten)]
    pub result: ReplyResult,
}

/// The field `response` or `error` of a reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplyResult {
    /// The request succeeded.
    Response(Response),
    /// The request failed.
    Error(Error),
}

impl Reply {
    /// Creates a reply.
    pub fn new(id: Option<u64>, result: Result<Response, Error>) -> Self {
        let result = match result {
            Ok(response) => ReplyResult::Response(response),
            Err(error) => ReplyResult::Error(error),
        };
        Self { id, result }
    }

    /// Returns the response, or the error as an `Err`.
    ///
    /// # Errors
    /// The error that the server replied.
    pub fn into_result(self) -> Result<Response, Error> {
        match self.result {
            ReplyResult::Response(response) => Ok(response),
            ReplyResult::Error(error) => Err(error),
        }
    }
}

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ServerMessage {
    /// An event. It has the field `event`.
    Event(Event),
    /// A reply. It has the field `id`.
    Reply(Reply),
}

impl ServerMessage {
    /// Parses one line, with or without its newline.
    ///
    /// # Errors
    /// If the line is neither an event nor a reply.
    pub fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        let value: serde_json::Value = serde_json::from_slice(line)?;
        if value.get("event").is_some() {
            serde_json::from_value(value).map(Self::Event)
        } else {
            serde_json::from_value(value).map(Self::Reply)
        }
    }

    /// Returns the message as a line with its newline.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_a_round_trip_and_unknown_ones_parse() -> Result<(), serde_json::Error> {
        for message in [
            ServerMessage::Reply(Reply::new(Some(4), Ok(Response::Done))),
            ServerMessage::Reply(Reply::new(Some(5), Ok(Response::Pong { rtt_us: 12 }))),
            ServerMessage::Reply(Reply::new(None, Err(Error::new(ErrorKind::TooLong, "too long")))),
            ServerMessage::Event(Event::Ping { serial: 9 }),
        ] {
            assert_eq!(ServerMessage::parse(&message.to_line())?, message);
        }
        let later = br#"{"event":"of_a_later_version","with":1}"#;
        assert_eq!(ServerMessage::parse(later)?, ServerMessage::Event(Event::Unknown));
        let reply = ServerMessage::parse(br#"{"id":1,"error":{"kind":"new_kind","message":"m"}}"#)?;
        let unknown = Err(Error::new(ErrorKind::Unknown, "m"));
        assert_eq!(reply, ServerMessage::Reply(Reply::new(Some(1), unknown)));
        Ok(())
    }
}
