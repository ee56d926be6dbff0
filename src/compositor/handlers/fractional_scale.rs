//! fractional-scale: a surface hears its display's exact scale.

use smithay::delegate_fractional_scale;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::fractional_scale::FractionalScaleHandler;

use crate::shell::windows::{root, send_preferred_scale};
use crate::compositor::State;

impl FractionalScaleHandler for State {
    fn new_fractional_scale(&mut self, surface: WlSurface) {
        // InheritedPicture it is shown anywhere: the scale of the display that it will come to most likely.
        let id = self.output_of(&root(&surface)).or(self.shell.focused_output);
        let output =
            id.and_then(|id| self.outputs.get(id)).or_else(|| self.outputs.in_layout().first().copied());
        if let Some(output) = output {
            with_states(&surface, |states| send_preferred_scale(&output.wl_output, &surface, states));
        }
    }
}

delegate_fractional_scale!(State);
