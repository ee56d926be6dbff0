//! What displays show: elements, cursors, the diagnostic screen.

pub mod cursor;
pub mod diagnostic;
pub mod scene;
pub mod text;
