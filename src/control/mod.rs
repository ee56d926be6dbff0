//! The control socket: programs that command the service and hear what happens (`geom-ipc`).

pub mod connection;
mod displays;
mod report;
mod requests;
mod screenshot;
mod session;
mod upgrade;
