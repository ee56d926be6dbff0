//! The protocol between host and guest: one JSON object per line over a serial line.
//!
//! The guest answers each request with exactly one reply of the same id. Replies may overtake each
//! other, because a request that waits (for a process to exit, for example) must not delay the
//! next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the guest mounts the machine's shared directory, see
/// [`Machine::shared_dir`](crate::Machine::shared_dir).
pub const SHARED: &str = "/run/lab";
/// Where a QEMU machine's guest mounts its kernel's modules, for `modprobe -d`.
pub const MODULES: &str = "/run/modules";
/// Tags of the file systems that QEMU exports to the guest over 9p: the host's root (mounted by
/// lab/qemu/init.sh), the shared directory, and the kernel's modules.
pub const SHARED_TAG: &str = "shared";
/// See [`SHARED_TAG`].
pub const MODULES_TAG: &str = "modules";
/// The unprivileged user (Debian's user 65534) that programs run as if root is not requested.
pub const USER_ID: u32 = 65534;
/// That user's name.
pub const USER_NAME: &str = "nobody";
/// That user's `XDG_RUNTIME_DIR`.
pub const RUNTIME_DIR: &str = "/run/user/65534";

/// A request with its id.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// The id that the reply will carry.
    pub id: u64,
    /// The request.
    pub request: Request,
}

/// The reply to a request.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The id of the request.
    pub id: u64,
    /// The response, or the error as text.
    pub result: Result<Response, String>,
}

/// A virtual GPU: vkms configured through configfs.
///
/// Source: the kernel's Documentation/gpu/vkms.rst.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GpuSpec {
    /// Name of the configfs directory, which [`Request::RemoveGpu`] takes.
    pub name: String,
    /// One entry per connector: whether a monitor is connected when the GPU appears.
    pub connectors: Vec<bool>,
    /// Number of CRTCs; each CRTC reaches every encoder.
    pub crtcs: usize,
    /// Number of encoders. Connectors that share an encoder cannot be enabled together, which a
    /// program learns only when the kernel refuses the commit.
    pub encoders: usize,
    /// Whether each CRTC has a cursor plane.
    pub cursor: bool,
    /// Number of overlay planes per CRTC.
    pub overlays: usize,
}

impl GpuSpec {
    /// Returns a GPU with one CRTC and one cursor plane per connector, all monitors connected.
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

/// The kernel's names for a new GPU and its connectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GpuNames {
    /// `card0` and so on, under `/dev/dri` and `/sys/class/drm`.
    pub card: String,
    /// `Virtual-1` and so on, in the order of [`GpuSpec::connectors`].
    pub connectors: Vec<String>,
}

/// Kinds of input devices that the guest can create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputKind {
    /// A keyboard with all keys.
    Keyboard,
    /// A mouse: relative motion, three buttons, a wheel.
    Pointer,
    /// The switch of a laptop's lid.
    Lid,
    /// A direct multi-touch surface with coordinates from 0 to [`TOUCH_MAX`] on both axes.
    Touch,
    /// A pen display: a direct tablet with coordinates from 0 to [`TOUCH_MAX`] on both axes, and a
    /// pen with pressure from 0 to [`PRESSURE_MAX`], tilt and two buttons.
    Pen,
    /// The same without a resolution: its physical size is unknown.
    UnscaledTouch,
    /// A direct surface for one finger whose axes have the largest range that there is. Its name is
    /// not UTF-8.
    HugeTouch,
    /// A direct multi-touch surface that has every absolute axis, each with the largest range.
    AllAxes,
}

/// The largest coordinate of a touch device or a tablet.
pub const TOUCH_MAX: i32 = 65535;

/// The largest pressure of a pen.
pub const PRESSURE_MAX: i32 = 4095;

/// An `input_event` without its time (linux/input.h).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct InputEvent {
    /// `EV_KEY` and so on.
    pub kind: u16,
    /// The key, button or axis.
    pub code: u16,
    /// The new state, or the relative motion.
    pub value: i32,
}

/// A program to start in the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables that are added to a minimal environment.
    pub env: BTreeMap<String, String>,
    /// Whether it runs as root rather than as [`USER_ID`].
    pub root: bool,
    /// Name of its log: standard output and error go to `<log>.log` in the shared directory.
    pub log: String,
    /// The VT that becomes the program's controlling terminal and standard input.
    pub tty: Option<u32>,
}

/// A request of the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Creates a virtual GPU.
    CreateGpu(GpuSpec),
    /// Removes a virtual GPU.
    RemoveGpu {
        /// [`GpuSpec::name`].
        name: String,
    },
    /// Connects or disconnects a monitor.
    SetConnected {
        /// [`GpuSpec::name`].
        gpu: String,
        /// Index in [`GpuSpec::connectors`].
        connector: usize,
        /// Whether a monitor is connected from now on.
        connected: bool,
    },
    /// Creates an input device.
    CreateInput {
        /// The kind of device.
        kind: InputKind,
        /// What other requests call it.
        id: String,
        /// Its name.
        name: String,
        /// Where the kernel says that it is plugged in (`phys`).
        port: Option<String>,
    },
    /// Removes an input device.
    RemoveInput {
        /// The device's id.
        name: String,
    },
    /// Lists the lamps of a keyboard that are on.
    InputLamps {
        /// The device's id.
        name: String,
    },
    /// Sends events through an input device.
    Input {
        /// The device's id.
        name: String,
        /// Groups of events, each ended by a `SYN_REPORT`.
        events: Vec<InputEvent>,
    },
    /// Starts a program.
    Spawn(ProgramSpec),
    /// Measures the time from a trigger until a file contains a text at least `count` times.
    Measure {
        /// What the guest does first.
        trigger: Trigger,
        /// The file.
        path: String,
        /// The text.
        text: String,
        /// The number of occurrences.
        count: usize,
        /// The upper limit in milliseconds.
        timeout_ms: u64,
    },
    /// Waits for a program to exit.
    Wait {
        /// The program.
        pid: u32,
        /// The upper limit in milliseconds.
        timeout_ms: u64,
    },
    /// Sends a signal.
    Signal {
        /// The program.
        pid: u32,
        /// The signal's number (signal(7)).
        signal: i32,
    },
    /// Composes what the planes of a connector's CRTC show into a file of the shared directory.
    Screenshot {
        /// The connector's name.
        connector: String,
        /// The file, which gets four bytes per pixel: R, G, B, A.
        file: String,
    },
    /// Reads a file; invalid UTF-8 is replaced.
    ReadFile {
        /// The file.
        path: String,
    },
    /// Writes a file.
    WriteFile {
        /// The file.
        path: String,
        /// Its new contents.
        contents: String,
    },
    /// Copies a file into the guest's memory and makes it executable for all users.
    Install {
        /// The source, as the guest sees it.
        from: String,
        /// The destination.
        to: String,
    },
    /// Lists a directory.
    ReadDir {
        /// The directory.
        path: String,
    },
    /// Reads a symbolic link.
    ReadLink {
        /// The link.
        path: String,
    },
    /// Switches to a VT and waits until it is active.
    ActivateVt {
        /// The VT's number.
        vt: u32,
    },
    /// Returns the state of a VT.
    VtState {
        /// The VT's number.
        vt: u32,
    },
    /// Returns the kernel messages since boot that report a bug: warnings, oopses, lockups, leaks.
    KernelWarnings,
    /// Powers off. It has no reply.
    PowerOff,
}

/// The response to a request.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// The request has no result.
    Done,
    /// The names of a new GPU.
    Gpu(GpuNames),
    /// The id of a new process.
    Pid(u32),
    /// How the program exited; `None` if it still runs after the timeout of [`Request::Wait`].
    Exited(Option<ExitStatus>),
    /// The size of a screenshot in pixels.
    Screenshot {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A file's contents, or a link's target.
    Text(String),
    /// Names of directory entries, or lines.
    Names(Vec<String>),
    /// The state of a VT.
    Vt(VtState),
    /// The result of [`Request::Measure`].
    Measured(Measurement),
}

/// The action from which [`Request::Measure`] measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Trigger {
    /// Starts a program.
    Spawn(ProgramSpec),
    /// Connects a monitor.
    Plug {
        /// [`GpuSpec::name`].
        gpu: String,
        /// Index in [`GpuSpec::connectors`].
        connector: usize,
    },
    /// Sends a signal.
    Signal {
        /// The program.
        pid: u32,
        /// The signal's number (signal(7)).
        signal: i32,
    },
}

/// The result of [`Request::Measure`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The process, if the trigger started one.
    pub pid: Option<u32>,
    /// When the trigger ran, in seconds of CLOCK_MONOTONIC.
    pub started: f64,
    /// Seconds until the file contained the text.
    pub elapsed: f64,
}

/// How a program exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

/// The state of a virtual terminal (ioctl_console(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VtState {
    /// The number of the active VT.
    pub active: u32,
    /// Whether it is in `KD_GRAPHICS` rather than `KD_TEXT`.
    pub graphics: bool,
    /// The keyboard's mode: `K_OFF` is 4, `K_UNICODE` 3, `K_XLATE` 1.
    pub keyboard: i32,
    /// Whether a process, rather than the kernel, controls VT switches (`VT_PROCESS`).
    pub process_switched: bool,
}
