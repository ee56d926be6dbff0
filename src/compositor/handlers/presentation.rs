//! presentation-time: clients hear when their frames were shown (`frames` answers).

use smithay::delegate_presentation;

use crate::compositor::State;

delegate_presentation!(State);
