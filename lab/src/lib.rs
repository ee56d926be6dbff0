//! The lab: real KMS without hardware.
//!
//! A [`Machine`] is a User Mode Linux kernel with vkms on the host's root file system, booted
//! without privileges in about a second. Tests create virtual GPUs in it, connect and disconnect
//! monitors, send key presses and touches, run programs as an ordinary user, and read back what
//! each CRTC scans out.
//!
//! The recipe of its kernel is in `lab/kernel`; process 1 of its guest is `geom-lab-guest`.
//!
//! [`qemu::boot`] boots stock Debian kernels with other GPUs than vkms, on a [`Machine`] with the
//! same interface.
#![warn(missing_docs)]

mod card;
mod hostile_kind;
mod input;
mod machine;
pub mod protocol;
pub mod qemu;
mod screenshot;
mod serial;

pub use card::Card;
pub use hostile_kind::HostileKind;
pub use input::{keys, Absurd, Keyboard, Lid, Pen, Pointer, Touch};
pub use machine::{kernel, BootOptions, Machine, Program, SystemdOptions};
pub use screenshot::Screenshot;
