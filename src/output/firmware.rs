//! Outputs of the firmware's framebuffer. A GPU's driver replaces it a moment after the boot, and
//! has connectors with other names: one of them takes the place of the output, with its windows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use geom_display::plan::ProbedGpu;

use super::outputs::Outputs;
use super::scanout::Scanout;

/// The firmware's output and the connector that takes its place.
#[derive(Debug, PartialEq, Eq)]
pub struct Succession {
    pub firmware: String,
    pub successor: String,
}

impl Outputs {
    /// Remembers which of the `present` connectors are the firmware's, each with the hardware that
    /// shows it.
    pub fn note_firmware(&mut self, connectors: BTreeMap<String, Option<PathBuf>>, present: &[ProbedGpu]) {
        // A driver's connector may have the same name.
        self.firmware.retain(|name, _| !is_present(name, present));
        self.firmware.extend(connectors);
    }

    /// Returns whether an output is, or was, the firmware's: it ends without being unplugged.
    pub fn is_firmware(&self, name: &str) -> bool {
        self.firmware.contains_key(name)
    }

    /// Returns the outputs of the firmware that are gone, each with the first monitor of a GPU that
    /// `drives` its hardware. One whose driver has no monitor yet is returned once it has.
    pub fn firmware_successions(
        &self,
        present: &[ProbedGpu],
        drives: impl Fn(u64, &Option<PathBuf>) -> bool,
    ) -> Vec<Succession> {
        let mut successions = Vec::new();
        for (firmware, hardware) in self.firmware.iter().filter(|(name, _)| !is_present(name, present)) {
            let gpus = present.iter().filter(|gpu| drives(gpu.id, hardware));
            let mut monitors = gpus
                .flat_map(|gpu| &gpu.connectors)
                .filter(|connector| connector.connected && !connector.non_desktop);
            let Some(successor) = monitors.find(|connector| !connector.modes.is_empty()) else { continue };
            successions.push(Succession { firmware: firmware.clone(), successor: successor.name.clone() });
        }
        successions
    }

    /// Gives a successor the place of the firmware's output, unless it has one already, and forgets
    /// that output. Returns its scanout, whose buffers must live until the next commit.
    pub fn succeed_firmware(&mut self, succession: &Succession) -> Option<Scanout> {
        self.firmware.remove(&succession.firmware);
        self.ports.remove(&succession.firmware);
        let (logical, scanout) = {
            let output = self.named_mut(&succession.firmware)?;
            (output.state.logical, output.scanout.take())
        };
        let successor = self.entry(&succession.successor);
        if successor.state.logical.width == 0 {
            successor.state.logical = logical;
        }
        self.retain(|output| output.name != succession.firmware);
        scanout
    }
}

fn is_present(name: &str, present: &[ProbedGpu]) -> bool {
    let mut connectors = present.iter().flat_map(|gpu| &gpu.connectors);
    connectors.any(|connector| connector.name == name)
}

#[cfg(test)]
mod tests {
    use geom_display::mode::Mode;
    use geom_display::plan::ProbedConnector;

    use super::*;

    fn gpu(id: u64, connectors: &[(&str, bool)]) -> ProbedGpu {
        let connector = |(name, connected): &(&str, bool)| ProbedConnector {
            name: (*name).into(),
            connected: *connected,
            modes: connected.then(|| Mode::new(100, 100, 60_000)).into_iter().collect(),
            ..ProbedConnector::default()
        };
        ProbedGpu { id, connectors: connectors.iter().map(connector).collect() }
    }

    #[test]
    fn first_monitor_of_the_driver_succeeds_the_firmware() {
        let mut outputs = Outputs::default();
        let still = gpu(3, &[("Unknown-1", true)]);
        outputs.note_firmware(
            [("Unknown-1".to_owned(), Some("pci".into()))].into(),
            std::slice::from_ref(&still),
        );
        let drives = |id: u64, hardware: &Option<PathBuf>| id == 2 && hardware.is_some();
        let other = || gpu(1, &[("DP-1", true)]);
        let successor = |present: &[ProbedGpu]| {
            let found = outputs.firmware_successions(present, drives);
            found.into_iter().map(|found| found.successor).next()
        };
        assert_eq!(successor(&[still, other()]), None, "still there");
        assert_eq!(successor(&[other()]), None, "another GPU");
        assert_eq!(successor(&[other(), gpu(2, &[("HDMI-A-1", false)])]), None, "no monitor yet");
        let driver = gpu(2, &[("HDMI-A-1", false), ("HDMI-A-2", true), ("DP-2", true)]);
        assert_eq!(successor(&[other(), driver]).as_deref(), Some("HDMI-A-2"));
        assert!(outputs.is_firmware("Unknown-1"));
        outputs.note_firmware(BTreeMap::new(), &[gpu(2, &[("Unknown-1", true)])]);
        assert!(!outputs.is_firmware("Unknown-1"), "the driver's connector has the same name");
    }
}
