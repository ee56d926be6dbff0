//! The displays that `--display` (`-w`) names: waited for, or the end of the service when they are lost (docs/control.md,
//! connection types).

use geom_ipc::ConnectType;
use tracing::info;

use super::State;
use crate::output::Output;

impl State {
    /// Ends the service if a named display is lost for good, or missing and not waited for.
    pub fn check_named_displays(&mut self) {
        let connect_type = self.connect_type();
        for name in self.options.display.clone() {
            let connectors = self.displays_named(&name);
            let outputs = || connectors.iter().filter_map(|connector| self.outputs.named(connector));
            // Of several outputs that a pattern matches, one is enough.
            if outputs().any(Output::is_enabled) {
                continue;
            }
            // A connector's name stands for any monitor at it, a monitor's name for that monitor at any connector.
            let disconnects = |output: &Output| match output.name == name {
                true => output.port_disconnects,
                false => output.disconnects,
            };
            let disconnects = outputs().map(disconnects).max().unwrap_or(0);
            if disconnects > 0 && connect_type.is_final(disconnects) {
                info!(display = name, disconnects, ?connect_type, "the disconnect of the named display is final");
                self.shut_down();
            } else if disconnects == 0 && !connect_type.contains(ConnectType::KEEP_CONNECTION_OPEN) {
                let present = self.backend.connector_names().join(", ");
                self.fail(format!(
                    "there is no display {name}; there are: {present}. Plug it in, name another one by --display, or wait for \
                     it with --connect-type=KEEP_CONNECTION_OPEN"
                ));
            } else {
                info!(display = name, "waiting for the named display");
            }
        }
    }

    /// Returns how disconnects are handled: as the command line says, or else the configuration.
    pub fn connect_type(&self) -> ConnectType {
        self.options.connect_type.unwrap_or(self.config.connect_type)
    }
}
