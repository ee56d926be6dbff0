//! The C ABI; `include/geom_compositor.h` is written from it by cbindgen.
//!
//! Conventions: every function that can fail returns a [`geom_status`], and [`geom_last_error`] has the words. What a
//! function makes is freed by the function named after it. Strings are UTF-8 and end with a zero byte. Handles may be
//! used by any thread; freeing one while another thread uses it is a mistake of the caller's. No panic crosses.

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
