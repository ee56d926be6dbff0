//! Virtual terminals: switching, and their modes (ioctl_console(2)).

use std::fs::{self, File};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use geom_lab::protocol::VtState;
use rustix::ioctl::{ioctl, Getter, IntegerSetter, Opcode};

const VT_ACTIVATE: Opcode = 0x5606;
const VT_GETMODE: Opcode = 0x5601;
const KDGETMODE: Opcode = 0x4b3b;
const KDGKBMODE: Opcode = 0x4b44;

/// struct vt_mode (linux/vt.h).
#[repr(C)]
#[derive(Default)]
struct VtMode {
    mode: i8,
    waitv: i8,
    relsig: i16,
    acqsig: i16,
    frsig: i16,
}

/// Returns the number of the active VT.
fn active() -> Result<u32> {
    let name = fs::read_to_string("/sys/class/tty/tty0/active")?;
    name.trim().strip_prefix("tty").and_then(|number| number.parse().ok()).context("no active VT")
}

/// How long the active VT's process may take to release it.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Switches to a VT and waits until it is active.
pub fn activate(vt: u32) -> Result<()> {
    let console = File::open("/dev/tty0")?;
    // SAFETY: VT_ACTIVATE takes a number.
    unsafe { ioctl(&console, IntegerSetter::<VT_ACTIVATE>::new_usize(vt as usize)) }
        .context("VT_ACTIVATE")?;
    let deadline = Instant::now() + SWITCH_TIMEOUT;
    while active()? != vt {
        if Instant::now() > deadline {
            bail!("VT {vt} did not become active: VT {}'s process does not release it", active()?);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Returns a VT's state.
pub fn state(vt: u32) -> Result<VtState> {
    let tty = File::open(format!("/dev/tty{vt}"))?;
    // SAFETY: each of the three ioctls writes one value of the given type.
    let (graphics, keyboard, mode) = unsafe {
        (
            ioctl(&tty, Getter::<KDGETMODE, i32>::new()).context("KDGETMODE")?,
            ioctl(&tty, Getter::<KDGKBMODE, i32>::new()).context("KDGKBMODE")?,
            ioctl(&tty, Getter::<VT_GETMODE, VtMode>::new()).context("VT_GETMODE")?,
        )
    };
    Ok(VtState { active: active()?, graphics: graphics == 1, keyboard, process_switched: mode.mode == 1 })
}
