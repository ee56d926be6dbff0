//! wl_output and xdg-output: displays, as clients see them.

use smithay::delegate_output;
use smithay::output::Output;
use smithay::reexports::wayland_server::protocol::wl_output::WlOutput;
use smithay::wayland::output::OutputHandler;
use smithay::wayland::seat::WaylandFocus;

use crate::state::State;

impl OutputHandler for State {
    /// A client that binds a display's output late learns which of its windows are there.
    fn output_bound(&mut self, output: Output, wl_output: WlOutput) {
        use smithay::reexports::wayland_server::Resource;
        let Some(name) = self.screens.of_output(&output).map(|screen| screen.name.clone()) else { return };
        let Some(client) = wl_output.client() else { return };
        for managed in self.shell.windows.iter().filter(|managed| managed.shown_on.as_ref() == Some(&name)) {
            let own =
                managed.window.wl_surface().is_some_and(|surface| surface.client().as_ref() == Some(&client));
            if own {
                managed.window.with_surfaces(|surface, _| output.enter(surface));
            }
        }
    }
}

delegate_output!(State);
