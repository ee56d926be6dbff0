//! The control socket: programs that command the service and hear what happens (`geom-ipc`).

pub mod confirm;
mod displays;
pub mod link;
mod report;
mod requests;
mod screenshot;
mod session;
mod upgrade;
