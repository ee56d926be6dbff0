//! fractional-scale: sends surfaces the exact scale of their output.

use smithay::delegate_fractional_scale;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::fractional_scale::FractionalScaleHandler;

use crate::compositor::State;
use crate::shell::send_preferred_scale;

impl FractionalScaleHandler for State {
    fn new_fractional_scale(&mut self, surface: WlSurface) {
        // A surface that is not shown yet gets the scale of the output where it is likely to
        // appear.
        let output = self.output_of(&surface).and_then(|id| self.outputs.get(id));
        if let Some(output) = self.shell.preferred_output(output, &self.outputs) {
            with_states(&surface, |states| send_preferred_scale(output.wl_output(), &surface, states));
        }
    }
}

delegate_fractional_scale!(State);
