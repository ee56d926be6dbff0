//! DRM devices: opening them, what they can, their properties, buffers and renderers, and the
//! commits that drive them.

pub mod buffer;
pub mod card;
pub mod colorop;
pub mod commit;
pub mod context;
pub mod device;
pub mod discovery;
pub mod inherited;
pub mod lease;
pub mod link;
pub mod objects;
pub mod renderer;
pub mod tables;
