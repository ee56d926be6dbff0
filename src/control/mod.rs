//! The control socket: programs that command the service and hear what happens (`geom-ipc`).

pub mod confirm;
pub mod link;
mod report;
mod requests;
mod screenshot;
mod session;
