//! Output configuration for a KMS compositor: from what is connected and configured to what the
//! kernel accepts.
//!
//! The crate is pure: no devices, no clock, no I/O.
//!
//! ```text
//! probe ──> plan::plan ──> fallback::search ──> lifecycle::Lifecycle
//!               ^                 │
//!         output_config      TestCommit (the kernel, or a model of it)
//! ```
//!
//! - [`plan`] computes the desired state of every output, [`fallback`] the best state that the
//!   kernel accepts, [`lifecycle`] what that means for clients.
//! - [`output_config`] and [`profile`] are what users configure; [`identity`] resolves which output
//!   a name means.
//! - [`mode`], [`modeline`] (with CVT) and [`signal_format`] are what an output is set to.
//! - [`matching`] gives out what there is one of, such as CRTCs and planes.
//! - [`relocation`] finds monitors that moved to another connector.

#![warn(missing_docs)]

pub mod connector_override;
pub mod fallback;
pub mod identity;
pub mod lifecycle;
pub mod matching;
pub mod mode;
pub mod modeline;
pub mod output_config;
pub mod pattern;
pub mod plan;
pub mod profile;
pub mod relocation;
pub mod signal_format;
#[cfg(test)]
mod simulation_tests;
