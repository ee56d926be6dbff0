//! single-pixel-buffer: buffers of one color without memory. Smithay implements all of it.

use smithay::delegate_single_pixel_buffer;

use crate::compositor::State;

delegate_single_pixel_buffer!(State);
