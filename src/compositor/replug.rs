//! Monitors that come back at another connector: their place, windows, count of disconnects and
//! requests follow them.

use geom_display::lifecycle::Event as LifecycleEvent;
use geom_display::plan::ProbedGpu;
use geom_display::relocation::MonitorKey;
use tracing::info;

use super::output_commit::defer_drop;
use super::State;
use crate::output::scanout::Scanout;

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
        self.outputs.remove_gone(present);
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
