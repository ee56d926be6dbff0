//! The displays that `--display` (`-w`) names: waited for, or the end of the service when they are
//! disconnected (docs/control.md, connection types).

use geom_ipc::ConnectType;
use tracing::info;

use super::State;
use crate::output::lifecycle::NamedDisplay;

impl State {
    /// Ends the service if the disconnect of a named display is final, or if one is missing and not
    /// waited for.
    pub fn check_named_displays(&mut self) {
        let connect_type = self.connect_type();
        for name in self.options.display.clone() {
            let connectors = self.displays_named(&name);
            match self.outputs.named_display(&name, &connectors, connect_type) {
                NamedDisplay::Enabled => {}
                NamedDisplay::FinalDisconnect(disconnects) => {
                    info!(
                        display = name,
                        disconnects,
                        ?connect_type,
                        "the disconnect of the named display is final"
                    );
                    self.shut_down();
                }
                NamedDisplay::Missing if self.awaits_driver() => {
                    info!(display = name, "waiting for the driver that may have the named display");
                }
                NamedDisplay::Missing => {
                    let present = self.backend.connector_names().join(", ");
                    self.fail(format!(
                        "there is no display {name}; there are: {present}. Plug it in, name another one by --display, or wait \
                         for it with --connect-type=KEEP_CONNECTION_OPEN"
                    ));
                }
                NamedDisplay::Awaited => info!(display = name, "waiting for the named display"),
            }
        }
    }

    /// Returns how disconnects are handled: as the command line says, or else the configuration.
    pub fn connect_type(&self) -> ConnectType {
        self.options.connect_type.unwrap_or(self.config.connect_type)
    }
}
