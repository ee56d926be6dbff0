//! DRM/KMS devices: what they have, and the commits that drive them.
//!
//! A [`Device`] holds a device's objects and the state that was committed to it. It probes
//! connectors, searches with test commits for what the kernel accepts, sets modes, and submits
//! frames. It draws nothing and allocates no framebuffers except dumb buffers: the caller brings
//! framebuffers.
//!
//! ```text
//!  Device::probe ──> plan (geom-display) ──> Device::search ──> Device::commit
//!                                            (test commits)          │
//!                       page flip event <── kernel <── Device::submit (each frame)
//! ```
//!
//! - [`calls`] is the trait with all calls to the kernel. [`DrmFd`] makes them on a device's
//!   descriptor, or on a `fake::FakeDevice` (feature `fake`), which checks requests as the kernel
//!   does, records them, and fails on demand.
//! - [`objects`] reads CRTCs, planes, connectors and their properties; [`connector_props`] and
//!   [`colorop`] know the properties that have to be set or reset.
//! - [`commit`] builds atomic requests, and `legacy` makes the calls of drivers that have nothing
//!   else; [`device`] and [`search`] decide what to commit.
//! - [`formats`] knows the formats and modifiers that planes scan out, and which our buffers get.
//! - [`framebuffer`], [`dumb`], [`cursor`] and [`handoff`] are buffers; [`lease`] gives connectors
//!   to other programs; [`discovery`] finds devices; [`quirks`] lists what drivers differ in.
//!
//! Sources: the kernel's Documentation/gpu/drm-kms.rst, include/uapi/drm/drm_mode.h and
//! drivers/gpu/drm/drm_atomic_uapi.c.

#![warn(missing_docs)]

mod blanking;
pub mod calls;
mod color_luts;
pub mod colorop;
pub mod commit;
pub mod connector_props;
mod crtc_props;
pub mod cursor;
pub mod device;
pub mod discovery;
mod drm_fd;
pub mod dumb;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod fences;
pub mod formats;
pub mod framebuffer;
pub mod handoff;
mod kernel;
pub mod lease;
mod legacy;
pub mod modes;
pub mod objects;
mod open_error;
mod overridden;
mod plane_defaults;
pub mod properties;
pub mod quirks;
pub mod search;
#[cfg(test)]
mod tests;
mod vrr;

pub use color_luts::{CrtcColor, HardwareConversion, PlaneColor};
pub use commit::{CrtcSetup, Frame};
pub use device::{CrtcState, Device};
pub use drm_fd::{Blob, DrmFd};
pub use framebuffer::Framebuffer;
pub use objects::Probe;
pub use open_error::OpenError;
