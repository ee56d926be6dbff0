//! The lab: real KMS without hardware.
//!
//! A [`Machine`] is a User Mode Linux kernel with vkms on the host's root file system, booted
//! without privileges in under a second. Tests make virtual GPUs in it, plug and pull cables,
//! type and touch, run programs as an ordinary user, and read back what each CRTC shows.
//!
//! The recipe of its kernel is in `lab/kernel`; process 1 of its guest is `geom-lab-guest`.

mod card;
mod input;
mod link;
mod machine;
mod picture;
pub mod protocol;

pub use card::Card;
pub use input::{keys, Keyboard, Lid, Pointer, Touch};
pub use machine::{kernel, BootOptions, Machine, Program, SystemdOptions};
pub use picture::Picture;
