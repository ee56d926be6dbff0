//! The objects that replies and events describe: displays, clients, windows, the service.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConnectType;

/// A display mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mode {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Refresh rate in millihertz.
    pub refresh: u32,
}

/// A rectangle of the layout in logical pixels: the mode, transformed and divided by the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogicalRect {
    /// Left edge.
    pub x: i32,
    /// Top edge.
    pub y: i32,
    /// Width.
    pub width: i32,
    /// Height.
    pub height: i32,
}

/// The lifecycle state of a display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisplayState {
    /// It has a CRTC and is part of the layout. It may be blanked ([`blanked`](Display::blanked)).
    Enabled,
    /// The monitor is connected, and the configuration or a command has disabled it.
    Disabled,
    /// The monitor is unplugged. Its windows and its settings are kept.
    Disconnected,
    /// The monitor is connected and the kernel refuses every configuration for it.
    Failed,
}

/// A monitor that the service drives, or drove until it was unplugged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Display {
    /// Connector name, such as `HDMI-A-1`.
    pub name: String,
    /// Lifecycle state.
    pub state: DisplayState,
    /// Why the display failed. Only in the state `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Current mode. Only while the display is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Timing of the current mode, if it is not in the monitor's mode list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modeline: Option<String>,
    /// Modes that the display offers, best first.
    #[serde(default)]
    pub modes: Vec<Mode>,
    /// Position and size in the layout.
    pub logical: LogicalRect,
    /// Device pixels per logical pixel.
    pub scale: f64,
    /// Rotation and reflection: `normal`, `90`, `180`, `270`, `flipped`, `flipped-90`,
    /// `flipped-180` or `flipped-270`.
    pub transform: String,
    /// Number of times that its monitor was unplugged.
    pub disconnects: u32,
    /// Whether it has the keyboard focus. At most one display has it.
    pub focused: bool,
    /// The connected monitor, or the last one, if it has an EDID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Box<Monitor>>,
    /// Path of the physical port, such as `pci-0000:00:02.0/DP-1`. The same after each start, and
    /// accepted as a name of the display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Signal on the connector. Only while the display is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Box<Signal>>,
    /// Whether it is powered down (DPMS) and still part of the layout. Absent means `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blanked: bool,
    /// Name of the display whose content it shows, if it is a mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// Configured settings that could not be applied, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// The signal that a display gets besides the mode, and the color conversion for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Signal {
    /// `srgb`, `display-p3`, `bt2020`, `bt2020-pq`, `bt2020-hlg`, `native`, or the path of an ICC
    /// profile.
    pub color_space: String,
    /// Upper limit of bits per color channel (KMS `max bpc`). Absent if the connector has no such
    /// property.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<u8>,
    /// Quantization range (KMS `Broadcast RGB`): `automatic`, `full` or `limited`.
    pub rgb_range: String,
    /// Content type of the HDMI AVI infoframe (KMS `content type`): `none`, `graphics`, `photo`,
    /// `cinema` or `game`.
    pub content_type: String,
    /// How a panel shows modes other than its native one (KMS `scaling mode`): `none`, `full`,
    /// `center` or `aspect`.
    #[serde(default)]
    pub scaling: String,
    /// Whether variable refresh rate is enabled now.
    pub vrr: bool,
    /// Color temperature of white in kelvin. Absent if white is the monitor's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white_point: Option<u16>,
    /// Brightness as a fraction of the display's maximum. Absent if it is the maximum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brightness: Option<f64>,
}

/// The identity of a monitor, from its EDID. Requests accept `make model serial` as a name of the
/// display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Monitor {
    /// Manufacturer: three letters of the PNP registry.
    pub make: String,
    /// Model name, or the product code if the EDID has no name.
    pub model: String,
    /// Serial number, if the EDID has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Hash of the whole EDID, `edid:` and 16 hexadecimal digits. Accepted as a name of the
    /// display.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edid: Option<String>,
}

/// The protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// A Wayland client.
    Wayland,
    /// A client of this protocol.
    Control,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Accepted; the client has not sent a request yet.
    Accepted,
    /// The client answers heartbeats.
    Alive,
    /// The client did not answer a heartbeat in time.
    Unresponsive,
    /// A control client whose socket broke or whose heartbeat stopped. Its session is kept.
    Lost,
    /// The connection ended.
    Closed,
}

/// The reason why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The client closed it.
    ClientClosed,
    /// The client violated its protocol.
    ProtocolError,
    /// The client did not answer heartbeats.
    HeartbeatTimeout,
    /// The client exceeded a limit, or the service has too many connections.
    OverLimit,
    /// The client's user may not connect.
    NotAllowed,
    /// A person or a control client ordered it.
    Requested,
    /// The service is shutting down.
    Shutdown,
}

/// Round-trip times of heartbeats, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rtt {
    /// Round-trip time of the last heartbeat.
    pub last: u64,
    /// Minimum since the connection was accepted.
    pub min: u64,
    /// Maximum since the connection was accepted.
    pub max: u64,
}

/// A connection, of a Wayland client or of a control client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Client {
    /// Id of the connection, unique while the service runs.
    pub id: u64,
    /// Protocol that the client speaks.
    pub kind: ClientKind,
    /// State of the connection.
    pub state: ConnectionState,
    /// Process id; 0 if the process is in another PID namespace.
    pub pid: i32,
    /// User id.
    pub uid: u32,
    /// Path of the client's executable, if the kernel allows to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
    /// Application id of a Wayland client's newest window; a control client's name from `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Sandbox engine and application id, if the client connected through
    /// wp_security_context_v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<String>,
    /// Connection type.
    pub connect_type: ConnectType,
    /// Seconds since the connection was accepted.
    pub connected_s: f64,
    /// Seconds since the client last sent anything.
    pub idle_s: f64,
    /// Round-trip times of its heartbeats. Absent before the first one is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_us: Option<Rtt>,
    /// Bytes sent to the client that it has not read: in the kernel's buffer and in ours.
    pub unread_bytes: u64,
    /// Names of the displays that show its windows.
    #[serde(default)]
    pub displays: Vec<String>,
    /// Number of its toplevel windows.
    pub windows: usize,
}

/// A toplevel window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Id of the window, unique while the service runs.
    pub id: u64,
    /// Id of its client.
    pub client: u64,
    /// Application id, if the client has set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Title, if the client has set one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Name of the display that the window is assigned to. It stays while that is disconnected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_output: Option<String>,
    /// Name of the enabled display that shows the window: the assigned one, or its neighbor while
    /// that is disconnected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// Whether the client asked for fullscreen.
    pub fullscreen: bool,
    /// Whether it has the keyboard focus.
    pub focused: bool,
}

/// What an input device can do (libinput's capabilities).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputCapability {
    /// It has keys.
    Keyboard,
    /// It moves the pointer: a mouse or a touchpad.
    Pointer,
    /// It is a touchscreen.
    Touch,
    /// It is a graphics tablet with a tool, such as a pen.
    TabletTool,
    /// It has the buttons, rings and strips of a graphics tablet.
    TabletPad,
    /// It reports gestures: a touchpad.
    Gesture,
    /// It is a switch, such as that of a laptop's lid.
    Switch,
    /// A capability of a later version of the protocol.
    #[serde(other)]
    Unknown,
}

/// An input device of the seat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputDevice {
    /// Kernel name in /dev/input, such as `event3`. Unique among the present devices.
    pub sysname: String,
    /// Name that the device reports, also that of `name` in `[[input]]` of the configuration.
    pub name: String,
    /// Vendor id of the device's bus (USB, Bluetooth, ...), 0 if it has none.
    pub vendor: u32,
    /// Product id of the vendor, 0 if it has none.
    pub product: u32,
    /// What it can do.
    pub capabilities: Vec<InputCapability>,
    /// What it is, as `kind` in `[[input]]`: `keyboard`, `mouse`, `touchpad`, `pointing-stick`,
    /// `touch`, `pen`, `pad`, `switch`. A device may be several of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Port that it is plugged into: udev's `ID_PATH`, or else the kernel's `phys`. Also that of
    /// `port` in `[[input]]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Name of the display that it belongs to: of a touchscreen while a display is enabled, and of
    /// another device if one is configured. It may change with the layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// Settings that it has, with their present values.
    #[serde(default, skip_serializing_if = "InputSettings::is_empty")]
    pub settings: Box<InputSettings>,
    /// Where settings that are not the device's own come from, such as `[pointer]` or `[[input]] at
    /// line 12`, by the setting's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// Configured settings that do not apply, each with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Settings of an input device. A setting that the device does not have is absent. Names and values
/// are those of `[[input]]` in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputSettings {
    /// When it sends events: `true`, `false` or `no-external-mouse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<String>,
    /// Pointer speed, from -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Whether the pointer moves farther if the device moves faster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerated: Option<bool>,
    /// Whether content follows the fingers or the wheel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub natural_scroll: Option<bool>,
    /// Factor of scrolling, from 0.1 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scroll_factor: Option<f64>,
    /// `none`, `two-finger`, `edge` or `button`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scroll_method: Option<String>,
    /// Button of the scroll method `button` (linux/input-event-codes.h).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scroll_button: Option<u32>,
    /// Whether that button need not be held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scroll_button_lock: Option<bool>,
    /// Whether a tap is a click.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap_to_click: Option<bool>,
    /// Whether a tap and a motion drag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap_drag: Option<bool>,
    /// Whether a finger may be lifted for a moment while it drags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drag_lock: Option<bool>,
    /// Buttons of taps with one, two and three fingers: `left-right-middle` or `left-middle-right`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap_buttons: Option<String>,
    /// `none`, `button-areas` or `clickfinger`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub click_method: Option<String>,
    /// Whether left and right buttons are exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_handed: Option<bool>,
    /// Whether left and right buttons together are the middle one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub middle_emulation: Option<bool>,
    /// Whether a touchpad is disabled while keys are pressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_while_typing: Option<bool>,
    /// Rotation in degrees clockwise, from 0 to 359.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<u32>,
    /// libinput's calibration matrix: two rows of three numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<[f64; 6]>,
    /// Layouts of a keyboard with a keymap of its own, as in `[keyboard]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// Variants of these layouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Model of the keyboard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Options of its keymap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<String>,
}

impl InputSettings {
    /// Returns whether the device has no setting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A GPU that the service has open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gpu {
    /// Path of the device, such as `/dev/dri/card0`.
    pub path: String,
    /// Name of the kernel's driver, such as `amdgpu`.
    pub driver: String,
    /// Whether commits are atomic. Otherwise the legacy KMS interface is used.
    pub atomic: bool,
    /// `gles`, or `pixman`, which renders on the CPU.
    pub renderer: String,
}

/// An older service has no `session_active`.
fn is_active_by_default() -> bool {
    true
}

/// The state of the service as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the service.
    pub version: String,
    /// Title that the service was started with (`--window-title`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Process id of the service.
    pub pid: u32,
    /// Seconds since the service started.
    pub uptime_s: f64,
    /// `kms` or `headless`.
    pub backend: String,
    /// The value of `WAYLAND_DISPLAY` for clients.
    pub wayland_display: String,
    /// Path of the configuration file, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Name of the user whose profile applies.
    #[serde(default)]
    pub user: String,
    /// Path of that profile. The file need not exist.
    #[serde(default)]
    pub profile: String,
    /// Whether libseat's session is enabled. It is not while another VT is active: the displays
    /// and input devices belong to another program then. Always `true` with the headless backend.
    #[serde(default = "is_active_by_default")]
    pub session_active: bool,
    /// Open GPUs, the primary one first.
    #[serde(default)]
    pub gpus: Vec<Gpu>,
    /// Number of enabled displays of the layout. Mirrors are not counted.
    pub enabled_displays: usize,
    /// Frames presented on all displays since the service started.
    pub frames: u64,
    /// Number of connections.
    pub clients: usize,
    /// Number of connections that are unresponsive.
    pub unresponsive_clients: usize,
    /// Number of connections refused since the service started.
    pub refused_clients: u64,
    /// Recent problems that a person should know of, oldest first.
    pub notices: Vec<String>,
}
