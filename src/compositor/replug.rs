//! Monitors that come back at another connector: their place, windows, count of disconnects and
//! requests follow them. So they do if a driver replaces the firmware's framebuffer, which has a
//! connector of its own.

use std::path::PathBuf;

use geom_display::lifecycle::Event as LifecycleEvent;
use geom_display::plan::ProbedGpu;
use geom_display::relocation::MonitorKey;
use tracing::info;

use super::output_commit::defer_drop;
use super::State;
use crate::output::firmware::Succession;
use crate::output::scanout::Scanout;
use crate::shell::Shell;

impl State {
    /// Moves what is remembered of monitors to where they are now. Scanouts that monitors left
    /// behind are kept in `deferred`.
    pub fn relocate_monitors(&mut self, present: &[ProbedGpu], deferred: &mut Vec<Scanout>) {
        let (moves, monitors) = self.outputs.relocations(present);
        for (connector, monitor) in moves.departures {
            let is_replaced = monitors.contains_key(&connector);
            self.monitor_left(&connector, monitor, is_replaced, deferred);
        }
        for (connector, monitor) in moves.arrivals {
            let Some((before, request)) = self.outputs.monitor_arrived(&connector, &monitor) else {
                continue;
            };
            info!(%monitor, from = before, to = connector, "monitor is at another connector");
            if let Some(request) = request {
                self.requests.insert(&connector, request);
            }
            self.rename_assigned_output(&monitor.to_string(), &connector);
        }
        self.replace_firmware_outputs(present, deferred);
        self.outputs.remove_gone(present);
    }

    fn replace_firmware_outputs(&mut self, present: &[ProbedGpu], deferred: &mut Vec<Scanout>) {
        self.outputs.note_firmware(self.backend.firmware_connectors(), present);
        let drives = |id: u64, hardware: &Option<PathBuf>| self.backend.drives(id, hardware.as_deref());
        for succession in self.outputs.firmware_successions(present, drives) {
            let Succession { firmware, successor } = &succession;
            info!(from = firmware, to = successor, "a driver's connector replaces the firmware's");
            if let Some(id) = self.outputs.id(firmware) {
                self.apply_lifecycle(id, LifecycleEvent::Disconnected);
            }
            let (request, timer) = self.requests.take(firmware);
            if let Some(timer) = timer {
                self.timers.cancel(timer);
            }
            if let Some(request) = request {
                self.requests.insert(successor, request);
            }
            self.outputs.entry(successor);
            if let Some((from, to)) = self.outputs.named(firmware).zip(self.outputs.named(successor)) {
                Shell::move_layers(from, to);
            }
            let scanout = self.outputs.succeed_firmware(&succession);
            defer_drop(&mut self.timers, scanout, deferred);
            self.rename_assigned_output(firmware, successor);
        }
    }

    fn monitor_left(
        &mut self,
        connector: &str,
        monitor: MonitorKey,
        is_replaced: bool,
        deferred: &mut Vec<Scanout>,
    ) {
        let Some(id) = self.outputs.id(connector) else { return };
        self.apply_lifecycle(id, LifecycleEvent::Disconnected);
        let (request, timer) = self.requests.take(connector);
        if let Some(timer) = timer {
            self.timers.cancel(timer);
        }
        let name = monitor.to_string();
        let scanout = self.outputs.monitor_left(connector, monitor, is_replaced, request);
        defer_drop(&mut self.timers, scanout, deferred);
        self.rename_assigned_output(connector, &name);
    }

    /// Windows, and placements of programs that may come back, are assigned to another name from
    /// now on.
    fn rename_assigned_output(&mut self, from: &str, to: &str) {
        self.shell.rename_assigned_output(from, to);
        self.clients.rename_placements(from, to);
    }
}
