//! viewporter: clients crop and scale surfaces. Smithay implements all of it.

use smithay::delegate_viewporter;

use crate::compositor::State;

delegate_viewporter!(State);
