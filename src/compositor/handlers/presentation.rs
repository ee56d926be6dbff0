//! presentation-time: reports to clients when their frames were shown. The events are sent by
//! `compositor/redraw.rs`.

use smithay::delegate_presentation;

use crate::compositor::State;

delegate_presentation!(State);
