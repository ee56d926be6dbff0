//! Displays: what is present, what should be, what the kernel accepts, and what came of it.
//!
//! `arrange`, `description`, `edid`, `identity`, `plan`, `fallback`, `lifecycle`, `link`, `mode`, `modeline`, `moves`, `night`,
//! `pipeline`, `sums` and `tone` are pure: no device, no clock, no Smithay.

mod aim;
pub mod arrange;
pub mod colour;
#[cfg(test)]
mod day;
pub mod description;
pub mod edid;
pub mod fallback;
pub mod icc;
pub mod identity;
pub mod lifecycle;
pub mod link;
pub mod mode;
pub mod modeline;
pub mod moves;
pub mod night;
pub mod pipeline;
pub mod plan;
pub mod screen;
pub mod screens;
pub mod shading;
pub mod steps;
pub mod sums;
pub mod tone;
