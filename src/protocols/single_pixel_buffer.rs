//! single-pixel-buffer: plain colours without memory. Smithay applies it.

use smithay::delegate_single_pixel_buffer;

use crate::state::State;

delegate_single_pixel_buffer!(State);
