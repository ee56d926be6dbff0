//! single-pixel-buffer: plain color without memory. Smithay applies it.

use smithay::delegate_single_pixel_buffer;

use crate::compositor::State;

delegate_single_pixel_buffer!(State);
