//! Color conversion for display outputs.
//!
//! Windows are sRGB, or describe their color. An output is driven in one of several color spaces,
//! or by an ICC profile. This crate computes the conversion between them for every place that can
//! apply it:
//!
//! | where | module |
//! |---|---|
//! | CRTC (`DEGAMMA_LUT`, `CTM`, `GAMMA_LUT`) | [`pipeline`] |
//! | plane (`COLOR_PIPELINE`, colorops) | [`colorop_solver`] |
//! | fragment shader | [`glsl`] |
//! | CPU | [`conversion`] |
//!
//! All of them start from a [`target::ColorTarget`] and agree within one code of 255. Hardware that
//! cannot is not used.
//!
//! The crate does no I/O and has no clock. Imports go downwards:
//! primitives ([`primaries`], transfer functions, [`lut`]) import nothing of this crate, and the
//! four modules above are imported by nothing.
//!
//! ```
//! use geom_color::color_space::ColorSpace;
//! use geom_color::conversion::Conversion;
//! use geom_color::target::ColorTarget;
//!
//! let target = ColorTarget { space: ColorSpace::DisplayP3, ..ColorTarget::default() };
//! let conversion = Conversion::new(&target).expect("P3 is not sRGB");
//! // One pixel of XRGB8888: blue, green, red, unused.
//! let mut pixel = [0; 4];
//! conversion.convert_row(&[0, 0, 255, 0], &mut pixel);
//! assert_eq!(pixel, [35, 51, 234, 0]);
//! ```

#![warn(missing_docs)]

mod accuracy;
pub mod adjustments;
pub mod color_space;
pub mod colorop_solver;
pub mod conversion;
pub mod glsl;
pub mod icc;
pub mod image_description;
pub mod lut;
pub mod night_light;
mod packed_matrix_lut;
pub mod pipeline;
pub mod primaries;
pub mod target;
mod target_encoding;
mod transfer;
