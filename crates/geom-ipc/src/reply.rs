//! From server to client: replies, one to each request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Client, ConnectType, Display, Event, Metrics, Status, Window};

/// The kinds of errors that programs can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The line is no request.
    BadMessage,
    /// The line is too long; the connection ends.
    TooLong,
    UnknownRequest,
    /// The first request was not `hello`, or a second one was.
    Handshake,
    /// No version in common.
    Version,
    /// The user may not do this.
    NotAllowed,
    /// There is no such display, client, window or session.
    NotFound,
    /// A value that is not allowed, or that the display refuses.
    BadValue,
    /// Too many connections.
    OverLimit,
    /// It was tried and did not work.
    Failed,
    #[serde(other)]
    Unknown,
}

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The answer to `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// What both sides speak from now on.
    pub version: u32,
    /// The server's name and version.
    pub server: String,
    /// The id of this connection among `clients`.
    pub connection: u64,
    /// Resumes this session after its socket broke.
    pub token: String,
    /// An earlier session was resumed; its subscription holds.
    pub resumed: bool,
    /// Milliseconds of silence after which the server sends `ping`.
    pub heartbeat_ms: u64,
    /// Milliseconds without an answer to a `ping` after which the session is lost.
    pub lost_ms: u64,
    /// What holds for this connection.
    #[serde(default)]
    pub connect_type: Option<ConnectType>,
}

/// What a request brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Done,
    Welcome(Welcome),
    Displays(Vec<Display>),
    Clients(Vec<Client>),
    Windows(Vec<Window>),
    Status(Box<Status>),
    Metrics(Metrics),
    Pong {
        /// Microseconds.
        rtt_us: u64,
    },
    /// A PNG was made; where no path was given, its descriptor comes along.
    Screenshot {
        width: u32,
        height: u32,
    },
}

/// The reply to the request of the same id; no id where the request had none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    #[serde(default)]
    pub id: Option<u64>,
    #[serde(flatten)]
    pub result: Outcome,
}

/// `answer` or `error`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Answer(Answer),
    Error(Error),
}

impl Reply {
    pub fn new(id: Option<u64>, result: Result<Answer, Error>) -> Self {
        let result = match result {
            Ok(answer) => Outcome::Answer(answer),
            Err(error) => Outcome::Error(error),
        };
        Self { id, result }
    }

    /// The answer, or the error.
    ///
    /// # Errors
    /// The server's.
    pub fn into_result(self) -> Result<Answer, Error> {
        match self.result {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Error(error) => Err(error),
        }
    }
}

/// Anything that a server says.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum FromServer {
    Event(Event),
    Reply(Reply),
}

impl FromServer {
    /// Reads one line.
    ///
    /// # Errors
    /// Where the line is neither an event nor a reply.
    pub fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        let value: serde_json::Value = serde_json::from_slice(line)?;
        if value.get("event").is_some() {
            serde_json::from_value(value).map(Self::Event)
        } else {
            serde_json::from_value(value).map(Self::Reply)
        }
    }

    /// The line that says it, with its newline.
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
    fn replies_and_events_are_told_apart() -> Result<(), serde_json::Error> {
        for message in [
            FromServer::Reply(Reply::new(Some(4), Ok(Answer::Done))),
            FromServer::Reply(Reply::new(Some(5), Ok(Answer::Pong { rtt_us: 12 }))),
            FromServer::Reply(Reply::new(None, Err(Error::new(ErrorKind::TooLong, "too long")))),
            FromServer::Event(Event::Ping { serial: 9 }),
        ] {
            assert_eq!(FromServer::parse(&message.to_line())?, message);
        }
        let later = br#"{"event":"of_a_later_version","with":1}"#;
        assert_eq!(FromServer::parse(later)?, FromServer::Event(Event::Unknown));
        let reply = FromServer::parse(br#"{"id":1,"error":{"kind":"new_kind","message":"m"}}"#)?;
        let unknown = Err(Error::new(ErrorKind::Unknown, "m"));
        assert_eq!(reply, FromServer::Reply(Reply::new(Some(1), unknown)));
        Ok(())
    }
}
