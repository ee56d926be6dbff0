//! Displays: what is present, what should be, what the kernel accepts, and what came of it.
//!
//! `edid`, `identity`, `plan`, `fallback`, `lifecycle`, `link` and `mode` are pure: no device, no clock, no Smithay.

pub mod colour;
pub mod edid;
pub mod fallback;
pub mod identity;
pub mod lifecycle;
pub mod link;
pub mod mode;
pub mod plan;
pub mod screen;
pub mod screens;
