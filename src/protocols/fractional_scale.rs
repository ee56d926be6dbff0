//! fractional-scale: a surface hears its display's exact scale.

use smithay::delegate_fractional_scale;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::wayland::compositor::with_states;
use smithay::wayland::fractional_scale::FractionalScaleHandler;

use crate::shell::windows::{root, tell_scale};
use crate::state::State;

impl FractionalScaleHandler for State {
    fn new_fractional_scale(&mut self, surface: WlSurface) {
        // Before it is shown anywhere: the scale of the display that it will come to most likely.
        let display = self.display_of(&root(&surface)).or_else(|| self.shell.focused_display.clone());
        let screen =
            display.and_then(|name| self.screens.get(&name)).or_else(|| self.screens.lit().first().copied());
        if let Some(screen) = screen {
            with_states(&surface, |states| tell_scale(&screen.output, &surface, states));
        }
    }
}

delegate_fractional_scale!(State);
