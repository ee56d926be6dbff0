//! geom_compositor: the DRM/KMS display manager of Geometry OS devices.
//!
//! The rooms, and which may know which (`main -> state -> {clients, shell, protocols} ->
//! {display, scanout} -> gpu -> session`):
//!
//! - [`options`]: the command line. [`config`]: the configuration file.
//! - [`run`]: from start to end. [`state`]: what all callbacks share.
//! - [`reactor`], [`timers`]: what is waited for.
//! - [`road`]: probe, plan, test commit, commit, publish. [`follow`]: monitors at other connectors. [`tuning`]: colours by wish
//!   and time. [`frames`]: redraw states at work, [`late`]: and those that do not come. [`metrics`]: what is counted. [`blank`]: light off and on.
//! - [`reset`]: renderers of GPUs that were reset. [`takeover`]: pictures of whoever was there before us.
//! - [`session`]: seat, signals, programs. [`backend`]: real or virtual monitors.
//! - [`gpu`]: DRM devices, commits, buffers. [`display`]: plans and displays. [`scanout`]: pace,
//!   swapchain, planes. [`render`]: what is drawn.
//! - [`doctor`]: why there is no picture.
//! - [`clients`]: connections. [`control`]: the control socket. [`cli`]: commands to a running service.
//! - [`protocols`]: Wayland. [`shell`]: where windows go. [`input`]: devices, keys, the pointer.

pub mod backend;
pub mod blank;
pub mod cli;
pub mod clients;
pub mod config;
pub mod control;
pub mod display;
pub mod doctor;
#[cfg(test)]
mod fixture;
pub mod follow;
pub mod frames;
pub mod gpu;
pub mod input;
pub mod late;
pub mod metrics;
pub mod options;
pub mod power;
pub mod protocols;
pub mod reactor;
pub mod render;
pub mod reset;
pub mod road;
pub mod run;
pub mod scanout;
pub mod session;
pub mod shell;
pub mod state;
pub mod takeover;
pub mod timers;
pub mod tuning;
