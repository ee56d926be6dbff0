//! What there is to know: displays, clients, windows, the service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConnectType;

/// A display mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mode {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Millihertz.
    pub refresh: u32,
}

/// A rectangle of the layout, in logical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

/// Where a display's life stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisplayState {
    Lit,
    /// Switched off, its monitor is there.
    Off,
    /// Its monitor is gone; its windows wait.
    Dark,
    /// The kernel refuses to light it.
    Failed,
}

/// A monitor that is driven, or was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Display {
    /// The connector's name, `HDMI-A-1` and so on.
    pub name: String,
    pub state: DisplayState,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// While it is lit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Its timing, where that is not of the monitor's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modeline: Option<String>,
    /// The modes that it can be set to, best first.
    #[serde(default)]
    pub modes: Vec<Mode>,
    pub place: Place,
    /// Device pixels for one logical pixel.
    pub scale: f64,
    /// `normal`, `90`, `180`, `270`, `flipped`, `flipped-90`, `flipped-180`, `flipped-270`.
    pub transform: String,
    /// How often its monitor was lost.
    pub losses: u32,
    pub focused: bool,
    /// Who is plugged in, or was last, where it says so (EDID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Box<Monitor>>,
    /// The port that it is at, the same after each start: a name as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// What goes down the cable beside the mode, while it is lit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Box<Link>>,
    /// Its light is off for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blank: bool,
    /// The display whose picture it shows instead of one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// What of the wishes for it could not be honoured, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub complaints: Vec<String>,
}

/// What goes down the cable beside the mode, and how the picture is coloured for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// `srgb`, `display-p3`, `bt2020`, `bt2020-pq`, `bt2020-hlg`, `native`, or an ICC profile's file.
    pub color_space: String,
    /// Bits of a colour at most; none where the connector does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u8>,
    /// `automatic`, `full` or `limited`.
    pub rgb_range: String,
    /// `none`, `graphics`, `photo`, `cinema` or `game`.
    pub content_type: String,
    /// `none`, `full`, `center` or `aspect`: how a panel shows other modes than its own.
    #[serde(default)]
    pub scaling: String,
    pub vrr: bool,
    /// The colour temperature of white in kelvin, where it is not the monitor's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white_point: Option<u16>,
    /// Of the light that it could give, where that is less than all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brightness: Option<f64>,
}

/// Who a monitor is. Its name, wherever a display is named, is `make model serial`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Monitor {
    /// Three letters of the PNP registry.
    pub make: String,
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its exact EDID, `edid:` and 16 digits: a name as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edid: Option<String>,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    Wayland,
    Control,
}

/// Where a connection's life stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Connected, and nothing said yet.
    Accepted,
    Alive,
    /// It did not answer in time.
    Unresponsive,
    /// A control client whose socket broke or whose heartbeat stopped; its session waits.
    Lost,
    Closed,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// By itself.
    Left,
    ProtocolError,
    LostHeartbeat,
    OverLimit,
    NotAllowed,
    /// By order of a person or a program.
    Ordered,
    Shutdown,
}

/// Round-trip times of heartbeats, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rtt {
    pub last: u64,
    pub least: u64,
    pub most: u64,
}

/// One connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Client {
    pub id: u64,
    pub kind: ClientKind,
    pub state: ConnectionState,
    pub pid: i32,
    pub uid: u32,
    /// The path of its program, where the kernel tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// Of a Wayland client's newest window; the name in a control client's hello.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// The sandbox engine and application of wp_security_context_v1, where it came through one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<String>,
    pub connect_type: ConnectType,
    /// Seconds since it was accepted.
    pub connected_s: f64,
    /// Seconds since it was last heard of.
    pub silent_s: f64,
    /// Of the heartbeats that it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<Rtt>,
    /// Bytes that the kernel or we hold for it and that it has not read.
    pub queued: u64,
    /// The displays that its windows are shown on.
    #[serde(default)]
    pub displays: Vec<String>,
    pub windows: usize,
}

/// A toplevel window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    pub id: u64,
    /// Of its connection.
    pub client: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The display that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// The lit display that it is shown on: its home, or a neighbour while that is dark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    pub fullscreen: bool,
    pub focused: bool,
}

/// The service as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    pub version: String,
    /// What the service is called, where it was given a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_s: f64,
    /// `kms` or `headless`.
    pub backend: String,
    /// The value for `WAYLAND_DISPLAY`.
    pub wayland_display: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Whose profile applies, and its file, which need not be there.
    #[serde(default)]
    pub user: String,
    #[serde(default)]
    pub profile: String,
    pub displays_lit: usize,
    /// Frames shown on all displays since the start.
    pub frames: u64,
    pub clients: usize,
    pub unresponsive: usize,
    /// Newcomers that were refused since the start.
    pub refused: u64,
    /// What went wrong lately.
    pub troubles: Vec<String>,
}
