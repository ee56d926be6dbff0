//! The C ABI, from which cbindgen generates `include/geom_compositor.h`.
//!
//! Conventions:
//!
//! - A function that can fail returns a [`geom_status`]; [`geom_last_error`] returns the message.
//! - An object that a function creates is freed by the function named after its type.
//! - Strings are UTF-8 and end with a zero byte.
//! - Handles may be used by any thread. The caller must not free a handle that another thread uses.
//! - No panic leaves the library: it is returned as [`geom_status::GEOM_INTERNAL`].

#![allow(non_camel_case_types)]

mod calls;
mod events;
mod lists;
mod status;

pub use calls::*;
pub use events::*;
pub use lists::*;
pub use status::*;

#[cfg(test)]
mod tests;
