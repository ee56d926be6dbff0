//! Monitors that come back at another connector: place, windows, disconnects and changes by hand go with them.

use std::collections::BTreeMap;

use tracing::info;
use geom_display::lifecycle::Event as LifecycleEvent;
use geom_display::relocation::{monitor_keys, relocations, MonitorAt, MonitorKey};
use geom_display::output_config::OutputConfig;
use geom_display::plan::{ProbedGpu, LogicalRect};

use crate::compositor::output_commit::defer_drop;
use crate::output::scanout::Scanout;
use crate::compositor::State;
use crate::output::OutputId;

/// So many monitors are remembered that are away.
const MOST: usize = 64;

/// What is remembered of a monitor that is away while its connector is another's.
#[derive(Debug, Clone)]
pub struct AwayMonitor {
    /// Where it was last.
    pub connector: String,
    pub logical: LogicalRect,
    disconnects: u32,
    change: Option<OutputConfig>,
}

impl State {
    /// Brings what is remembered to where monitors are now. Scanouts of displays that lost theirs are kept in `deferred`.
    pub fn relocate_monitors(&mut self, present: &[ProbedGpu], deferred: &mut Vec<Scanout>) {
        let seen = self.outputs.iter().map(|output| {
            (output.name.clone(), (output.monitor.identity.clone(), self.ports.get(&output.name).cloned()))
        });
        let seen: BTreeMap<String, MonitorAt> = seen.collect();
        let connectors = || present.iter().flat_map(|gpu| &gpu.connectors);
        let there: BTreeMap<String, MonitorAt> = connectors()
            .filter(|connector| connector.connected)
            .map(|connector| (connector.name.clone(), (connector.monitor.clone(), connector.port.clone())))
            .collect();
        let (seen, there) = monitor_keys(&seen, &there);
        let moves = relocations(&seen, &there);
        for (connector, monitor) in moves.departures {
            let replaced = there.contains_key(&connector);
            self.monitor_left(&connector, monitor, replaced, deferred);
        }
        for (connector, monitor) in moves.arrivals {
            if let Some(memory) = self.away.remove(&monitor) {
                self.monitor_arrived(&connector, &monitor, memory);
            }
        }
        // A hub's connectors are new ones each time: the old ones are nobody's.
        let exists = |name: &str| connectors().any(|connector| connector.name == name);
        self.outputs.retain(|output| exists(&output.name) || output.is_enabled() || output.logical.width > 0);
    }

    /// The monitor that is there in its place takes over where that stood, until it says otherwise.
    fn monitor_left(&mut self, connector: &str, monitor: MonitorKey, replaced: bool, deferred: &mut Vec<Scanout>) {
        let Some(output) = self.outputs.named_mut(connector) else { return };
        let scanout = output.scanout.take();
        defer_drop(&mut self.timers, scanout, deferred);
        let id = output.id;
        self.apply_lifecycle(id, LifecycleEvent::Disconnected);
        let change = self.overrides.remove(connector);
        let Some(output) = self.outputs.named_mut(connector) else { return };
        let logical = output.logical;
        if !replaced {
            output.logical = LogicalRect { x: 0, y: 0, width: 0, height: 0 };
        }
        let disconnects = std::mem::take(&mut output.disconnects);
        output.monitor.identity = None;
        output.monitor.edid = None;
        self.ports.remove(connector);
        let memory = AwayMonitor { connector: connector.to_owned(), logical, disconnects, change };
        self.rename_assigned_output(connector, &monitor.to_string());
        if self.away.len() == MOST {
            self.away.pop_first();
        }
        self.away.insert(monitor, memory);
    }

    fn monitor_arrived(&mut self, connector: &str, monitor: &MonitorKey, memory: AwayMonitor) {
        info!(%monitor, from = memory.connector, to = connector, disconnects = memory.disconnects, "monitor came back elsewhere");
        let output = self.outputs.entry(connector);
        output.logical = memory.logical;
        output.disconnects = memory.disconnects;
        self.overrides.extend(memory.change.map(|change| (connector.to_owned(), change)));
        self.rename_assigned_output(&monitor.to_string(), connector);
    }

    /// Windows, and applications that are to come back, wait for another name from now on.
    fn rename_assigned_output(&mut self, from: &str, to: &str) {
        let windows = self.shell.windows.iter_mut().chain(&mut self.shell.unmapped);
        let assigned = windows.filter_map(|managed| managed.assigned_output.as_mut());
        assigned.filter(|display| *display == from).for_each(|display| to.clone_into(display));
        self.clients.rename_placements(from, to);
    }

    /// Where windows of a monitor that is away show meanwhile: its connector's other monitor, or its neighbour.
    pub fn fallback_output_for(&self, name: &str) -> Option<OutputId> {
        let (_, memory) = self.away.iter().find(|(monitor, _)| monitor.to_string() == name)?;
        let port = self.outputs.named(&memory.connector).filter(|output| output.is_in_layout());
        port.or_else(|| self.outputs.nearest(memory.logical)).map(|output| output.id)
    }
}
