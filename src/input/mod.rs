//! Input: libinput's devices become events of the seat.

pub mod devices;
pub mod events;
pub mod keys;
pub mod pointer;
