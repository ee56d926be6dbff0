//! What host and guest say to each other: one JSON object a line over a serial line.
//!
//! Every request is answered by exactly one reply with its id; replies may overtake each other,
//! because a request that waits (for a process to end, say) must not hold up the next one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the guest sees the machine's folder on the host. What is written here is seen by both.
pub const SHARED: &str = "/run/lab";
/// The unprivileged user (Debian's `nobody`) that programs run as unless root is asked for.
pub const USER_ID: u32 = 65534;
/// That user's `XDG_RUNTIME_DIR`.
pub const RUNTIME_DIR: &str = "/run/user/65534";

/// A request with the id that its reply will carry.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    pub id: u64,
    pub request: Request,
}

/// The answer to the request of the same id.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    pub id: u64,
    pub result: Result<Answer, String>,
}

/// A virtual GPU: vkms configured through configfs.
///
/// Source: the kernel's Documentation/gpu/vkms.rst.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GpuSpec {
    /// The configfs folder's name; what [`Request::RemoveGpu`] takes.
    pub name: String,
    /// One connector an entry: whether a monitor is plugged in when the GPU appears.
    pub connectors: Vec<bool>,
    /// How many CRTCs there are; each reaches every encoder.
    pub crtcs: usize,
    /// How many encoders there are. Connectors that share one can't be lit together, which only
    /// the kernel's refusal tells.
    pub encoders: usize,
    /// Whether each CRTC has a cursor plane.
    pub cursor: bool,
    /// How many overlay planes each CRTC has.
    pub overlays: usize,
}

impl GpuSpec {
    /// A GPU with one CRTC and one cursor plane a connector, all monitors plugged in.
    pub fn new(name: &str, connectors: usize) -> Self {
        Self {
            name: name.into(),
            connectors: vec![true; connectors],
            crtcs: connectors,
            encoders: connectors,
            cursor: true,
            overlays: 0,
        }
    }
}

/// What the kernel called a new GPU and its connectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GpuNames {
    /// `card0` and so on, under `/dev/dri` and `/sys/class/drm`.
    pub card: String,
    /// `Virtual-1` and so on, in the order of [`GpuSpec::connectors`].
    pub connectors: Vec<String>,
}

/// Kinds of input devices the guest can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputKind {
    Keyboard,
    /// A mouse: relative motion, three buttons, a wheel.
    Pointer,
    /// A lid's switch.
    Lid,
    /// A direct multi-touch surface with coordinates from 0 to [`TOUCH_MAX`] on both axes.
    Touch,
}

/// The largest coordinate of a touch device.
pub const TOUCH_MAX: i32 = 65535;

/// One `input_event` without its time (linux/input.h).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct InputEvent {
    pub kind: u16,
    pub code: u16,
    pub value: i32,
}

/// A program to start in the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Added to a minimal environment.
    pub env: BTreeMap<String, String>,
    /// Run as root rather than as [`USER_ID`].
    pub root: bool,
    /// Standard output and error go to `<log>.log` in the shared folder.
    pub log: String,
    /// The VT that becomes the program's controlling terminal and standard input.
    pub tty: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    CreateGpu(GpuSpec),
    RemoveGpu {
        name: String,
    },
    /// Plugs a monitor in or pulls its cable.
    SetConnected {
        gpu: String,
        connector: usize,
        connected: bool,
    },
    CreateInput {
        kind: InputKind,
        name: String,
    },
    RemoveInput {
        name: String,
    },
    Input {
        name: String,
        events: Vec<InputEvent>,
    },
    Spawn(ProgramSpec),
    /// Does something and measures how long it takes until a file has a text so many times.
    Timed {
        deed: Deed,
        path: String,
        text: String,
        count: usize,
        millis: u64,
    },
    /// Waits for a program's end, at most so long.
    Wait {
        pid: u32,
        millis: u64,
    },
    Signal {
        pid: u32,
        signal: i32,
    },
    /// Composes what the planes of a connector's CRTC show into a file of the shared folder.
    Screenshot {
        connector: String,
        file: String,
    },
    /// The file's contents, invalid UTF-8 replaced.
    ReadFile {
        path: String,
    },
    WriteFile {
        path: String,
        contents: String,
    },
    /// Copies a file into the guest's memory, executable by all.
    Install {
        from: String,
        to: String,
    },
    ReadDir {
        path: String,
    },
    ReadLink {
        path: String,
    },
    /// Makes a VT the active one and waits until it is.
    ActivateVt {
        vt: u32,
    },
    VtState {
        vt: u32,
    },
    /// Kernel messages since boot that tell of a bug: warnings, oopses, lockups, leaks.
    KernelWarnings,
    PowerOff,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Gpu(GpuNames),
    Pid(u32),
    /// `None` after the time given to [`Request::Wait`].
    Ended(Option<Ending>),
    Picture {
        width: u32,
        height: u32,
    },
    Text(String),
    Names(Vec<String>),
    Vt(VtState),
    Measured(Measurement),
}

/// What [`Request::Timed`] does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Deed {
    Spawn(ProgramSpec),
    Plug { gpu: String, connector: usize },
    Signal { pid: u32, signal: i32 },
}

/// What [`Request::Timed`] found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Of the program, where one was started.
    pub pid: Option<u32>,
    /// When the deed began, in seconds of CLOCK_MONOTONIC.
    pub began: f64,
    /// Seconds until the file had the text.
    pub took: f64,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    Exited(i32),
    Killed(i32),
}

/// A virtual terminal's state (ioctl_console(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VtState {
    /// The VT on the screen.
    pub active: u32,
    /// `KD_GRAPHICS` rather than `KD_TEXT`.
    pub graphics: bool,
    /// The keyboard's mode: `K_OFF` is 4, `K_UNICODE` 3, `K_XLATE` 1.
    pub keyboard: i32,
    /// A process, rather than the kernel, decides about switching (`VT_PROCESS`).
    pub process_switched: bool,
}
