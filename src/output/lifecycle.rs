//! Lifecycle of outputs: connected, enabled, disabled, disconnected, and monitors that move to
//! another connector.

use std::collections::BTreeMap;

use geom_display::identity::{KnownOutputs, MonitorIds};
use geom_display::lifecycle::{Action, Event};
use geom_display::output_config::OutputConfig;
use geom_display::plan::{LogicalRect, ProbedGpu};
use geom_display::relocation::{monitor_keys, relocations, MonitorAt, MonitorKey, Relocations};
use geom_ipc::ConnectType;
use smithay::reexports::wayland_server::backend::GlobalId;

use super::outputs::Outputs;
use super::power_change::PowerChange;
use super::scanout::Scanout;
use super::{Output, OutputId};

/// Monitors that are remembered while their connector has another one. The smallest key is dropped
/// for a new one.
const MAX_AWAY_MONITORS: usize = 64;

/// What follows from a lifecycle event.
#[derive(Debug, Default)]
pub struct LifecycleEffects {
    /// The state changed: clients of the control protocol are informed.
    pub changed: bool,
    /// The monitor of an enabled output was unplugged.
    pub disconnected: bool,
    /// This `wl_output` global has to be disabled.
    pub removed_global: Option<GlobalId>,
    /// The output is no longer blanked, so that it is powered when it is enabled again.
    pub unblanked: bool,
}

/// What is remembered of a monitor whose connector has another monitor now.
#[derive(Debug, Clone)]
pub struct AwayMonitor {
    /// Its last connector.
    connector: String,
    logical: LogicalRect,
    disconnects: u32,
    request: Option<OutputConfig>,
}

/// The state of displays that `--display` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedDisplay {
    Enabled,
    /// It was disconnected this many times, and the connect type says that this disconnect is
    /// final.
    FinalDisconnect(u32),
    /// It never was there, and is not waited for.
    Missing,
    Awaited,
}

impl Outputs {
    /// Passes an event to an output's lifecycle. `is_idle_blanked` says that idleness blanks all
    /// outputs: one that is disconnected meanwhile stays blanked when it comes back.
    pub fn on_lifecycle(&mut self, id: OutputId, event: Event, is_idle_blanked: bool) -> LifecycleEffects {
        let mut effects = LifecycleEffects::default();
        let Some(output) = self.get_mut(id) else { return effects };
        effects.disconnected = event == Event::Disconnected && output.is_enabled();
        let before = output.lifecycle.clone();
        let (lifecycle, action) = std::mem::take(&mut output.lifecycle).on(event);
        output.lifecycle = lifecycle;
        effects.changed = output.lifecycle != before;
        if !output.is_enabled() {
            // Its CRTC is disabled.
            output.power_change = PowerChange::Settled;
        }
        if !output.is_enabled() && !is_idle_blanked {
            effects.unblanked = std::mem::take(&mut output.state.blanked);
        }
        if effects.disconnected {
            output.counts.disconnects += 1;
            output.counts.port_disconnects += 1;
        }
        if action == Action::RemoveGlobal {
            effects.removed_global = output.published.global.take();
        }
        effects
    }

    /// Remembers the port path of each connector.
    pub fn note_ports(&mut self, present: &[ProbedGpu]) {
        let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
        let ports =
            connectors.filter_map(|connector| Some((connector.name.clone(), connector.port.clone()?)));
        self.ports.extend(ports);
    }

    /// Returns all outputs and what identifies their monitors, disconnected outputs included.
    pub fn known(&self, present: &[ProbedGpu], aliases: &BTreeMap<String, String>) -> KnownOutputs {
        let mut known = KnownOutputs::with_aliases(aliases);
        let connectors =
            || present.iter().flat_map(|gpu| &gpu.connectors).filter(|connector| connector.connected);
        for output in self.iter() {
            // A monitor that came back at another connector must not count twice.
            let last = output.state.monitor.identity.clone();
            let is_elsewhere = connectors().any(|connector| connector.monitor == last);
            let port = self.ports.get(&output.name).cloned();
            let edid = output.state.monitor.edid.clone().filter(|_| !is_elsewhere);
            known.add(&output.name, MonitorIds { monitor: last.filter(|_| !is_elsewhere), edid, port });
        }
        for connector in connectors() {
            let (monitor, edid, port) =
                (connector.monitor.clone(), connector.edid.clone(), connector.port.clone());
            known.add(&connector.name, MonitorIds { monitor, edid, port });
        }
        known
    }

    /// Returns which monitors are at another connector than before, and the key of the monitor at
    /// each connector now.
    pub fn relocations(&self, present: &[ProbedGpu]) -> (Relocations, BTreeMap<String, Option<MonitorKey>>) {
        let last = self.iter().map(|output| {
            let port = self.ports.get(&output.name).cloned();
            (output.name.clone(), (output.state.monitor.identity.clone(), port))
        });
        let last: BTreeMap<String, MonitorAt> = last.collect();
        let connectors =
            present.iter().flat_map(|gpu| &gpu.connectors).filter(|connector| connector.connected);
        let present: BTreeMap<String, MonitorAt> = connectors
            .map(|connector| (connector.name.clone(), (connector.monitor.clone(), connector.port.clone())))
            .collect();
        let (last, present) = monitor_keys(&last, &present);
        (relocations(&last, &present), present)
    }

    /// A monitor has left a connector for another one: remembers its position, its count of
    /// disconnects and its `request`. A monitor that is `replaced` leaves its position to its
    /// successor, until that one gets another. Returns the scanout, whose buffers must live until
    /// the next commit.
    pub fn monitor_left(
        &mut self,
        connector: &str,
        monitor: MonitorKey,
        replaced: bool,
        request: Option<OutputConfig>,
    ) -> Option<Scanout> {
        let output = self.named_mut(connector)?;
        let scanout = output.scanout.take();
        let logical = output.state.logical;
        if !replaced {
            output.state.logical = LogicalRect { x: 0, y: 0, width: 0, height: 0 };
        }
        let disconnects = std::mem::take(&mut output.counts.disconnects);
        output.state.monitor.identity = None;
        output.state.monitor.edid = None;
        self.ports.remove(connector);
        if self.away.len() == MAX_AWAY_MONITORS {
            self.away.pop_first();
        }
        let away = AwayMonitor { connector: connector.to_owned(), logical, disconnects, request };
        self.away.insert(monitor, away);
        scanout
    }

    /// A monitor that was remembered is back at a connector. Returns the connector that it had
    /// before, and its request.
    pub fn monitor_arrived(
        &mut self,
        connector: &str,
        monitor: &MonitorKey,
    ) -> Option<(String, Option<OutputConfig>)> {
        let away = self.away.remove(monitor)?;
        let output = self.entry(connector);
        output.state.logical = away.logical;
        output.counts.disconnects = away.disconnects;
        Some((away.connector, away.request))
    }

    /// Removes outputs whose connector is gone and that are neither enabled nor in the layout: a
    /// hub gets new connectors each time it is plugged in.
    pub fn remove_gone(&mut self, present: &[ProbedGpu]) {
        let exists = |name: &str| {
            present.iter().flat_map(|gpu| &gpu.connectors).any(|connector| connector.name == name)
        };
        self.retain(|output| exists(&output.name) || output.is_enabled() || output.state.logical.width > 0);
    }

    /// Returns the output that shows the windows of a monitor that is away: the one that has its
    /// connector now, or the nearest one.
    pub fn fallback_for_away(&self, monitor: &str) -> Option<OutputId> {
        let (_, away) = self.away.iter().find(|(key, _)| key.to_string() == monitor)?;
        let successor = self.named(&away.connector).filter(|output| output.is_in_layout());
        successor.or_else(|| self.nearest(away.logical)).map(|output| output.id)
    }

    /// Returns the state of the display that `name` stands for, which matches `connectors`.
    pub fn named_display(
        &self,
        name: &str,
        connectors: &[String],
        connect_type: ConnectType,
    ) -> NamedDisplay {
        let outputs = || connectors.iter().filter_map(|connector| self.named(connector));
        // Of several outputs that a pattern matches, one is enough.
        if outputs().any(Output::is_enabled) {
            return NamedDisplay::Enabled;
        }
        // The monitor is still plugged in: a driver takes the hardware.
        if connectors.iter().any(|connector| self.is_firmware(connector)) {
            return NamedDisplay::Awaited;
        }
        // A connector's name stands for any monitor at it, a monitor's name for that monitor at any
        // connector.
        let disconnects = |output: &Output| match output.name == name {
            true => output.counts.port_disconnects,
            false => output.counts.disconnects,
        };
        match outputs().map(disconnects).max().unwrap_or(0) {
            0 if !connect_type.contains(ConnectType::KEEP_CONNECTION_OPEN) => NamedDisplay::Missing,
            0 => NamedDisplay::Awaited,
            count if connect_type.is_final(count) => NamedDisplay::FinalDisconnect(count),
            _ => NamedDisplay::Awaited,
        }
    }
}

#[cfg(test)]
mod tests {
    use geom_display::identity::Identity;
    use geom_display::plan::ProbedConnector;
    use geom_display::signal_format::Capabilities;

    use super::*;

    fn monitor(model: &str) -> Identity {
        Identity { make: "GSM".into(), model: model.into(), serial: Some("1".into()) }
    }

    fn connector(name: &str, model: Option<&str>) -> ProbedConnector {
        ProbedConnector {
            name: name.into(),
            connected: model.is_some(),
            modes: Vec::new(),
            monitor: model.map(monitor),
            edid: None,
            port: Some(format!("pci/{name}")),
            capabilities: Capabilities::default(),
            non_desktop: false,
            panel_orientation: Default::default(),
            tile: None,
        }
    }

    fn present(connectors: &[(&str, Option<&str>)]) -> Vec<ProbedGpu> {
        let connectors = connectors.iter().map(|(name, model)| connector(name, *model)).collect();
        vec![ProbedGpu { id: 1, connectors }]
    }

    fn enabled(outputs: &mut Outputs, name: &str, model: &str, x: i32) -> OutputId {
        outputs.ports.insert(name.into(), format!("pci/{name}"));
        let output = outputs.entry(name);
        output.state.monitor.identity = Some(monitor(model));
        output.state.logical = LogicalRect { x, y: 0, width: 100, height: 100 };
        let id = output.id;
        outputs.on_lifecycle(id, Event::Enabled, false);
        id
    }

    #[test]
    fn unplugging_counts_once_and_unblanks() {
        let mut outputs = Outputs::default();
        let id = enabled(&mut outputs, "A", "one", 0);
        outputs.get_mut(id).expect("an output").state.blanked = true;
        let effects = outputs.on_lifecycle(id, Event::Disconnected, false);
        assert!(effects.changed && effects.disconnected && effects.unblanked);
        let again = outputs.on_lifecycle(id, Event::Disconnected, false);
        assert!(!again.changed && !again.disconnected);
        let output = outputs.get(id).expect("an output");
        assert_eq!((output.counts.disconnects, output.counts.port_disconnects), (1, 1));
    }

    #[test]
    fn idle_blanking_survives_a_disconnect() {
        let mut outputs = Outputs::default();
        let id = enabled(&mut outputs, "A", "one", 0);
        outputs.get_mut(id).expect("an output").state.blanked = true;
        assert!(!outputs.on_lifecycle(id, Event::Disconnected, true).unblanked);
        assert!(outputs.get(id).is_some_and(|output| output.state.blanked));
    }

    #[test]
    fn position_disconnects_and_request_follow_the_monitor() {
        let mut outputs = Outputs::default();
        let id = enabled(&mut outputs, "A", "one", 300);
        outputs.on_lifecycle(id, Event::Disconnected, false);
        let now = present(&[("A", None), ("B", Some("one"))]);
        let (moves, at) = outputs.relocations(&now);
        let (name, key) = moves.departures.first().cloned().expect("a departure");
        assert_eq!(name, "A");
        let request = OutputConfig { scale: Some(2.0), ..OutputConfig::default() };
        outputs.monitor_left("A", key.clone(), at.contains_key("A"), Some(request.clone()));
        assert_eq!(moves.arrivals, [("B".to_owned(), key.clone())]);
        assert_eq!(outputs.monitor_arrived("B", &key), Some(("A".to_owned(), Some(request))));
        let arrived = outputs.named("B").expect("an output");
        assert_eq!((arrived.state.logical.x, arrived.counts.disconnects), (300, 1));
        // The old connector keeps nothing of it.
        assert_eq!(
            outputs.named("A").map(|output| (output.state.logical.width, output.counts.disconnects)),
            Some((0, 0))
        );
        outputs.remove_gone(&present(&[("B", Some("one"))]));
        assert!(outputs.named("A").is_none());
    }

    #[test]
    fn windows_of_an_away_monitor_go_to_its_successor_or_neighbor() {
        let mut outputs = Outputs::default();
        enabled(&mut outputs, "A", "one", 0);
        let neighbor = enabled(&mut outputs, "B", "two", 100);
        let key = MonitorKey::Monitor(monitor("one"));
        outputs.monitor_left("A", key.clone(), true, None);
        let successor = outputs.id("A");
        assert_eq!(outputs.fallback_for_away(&key.to_string()), successor);
        let id = successor.expect("an output");
        outputs.on_lifecycle(id, Event::Disconnected, false);
        assert_eq!(outputs.fallback_for_away(&key.to_string()), Some(neighbor));
        assert_eq!(outputs.fallback_for_away("no such monitor"), None);
    }

    #[test]
    fn named_displays_end_or_wait_as_the_connect_type_says() {
        let (keep, once) = (ConnectType::KEEP_CONNECTION_OPEN, ConnectType::DISCONNECT_ONCE);
        let connectors = ["A".to_owned()];
        let mut outputs = Outputs::default();
        assert_eq!(outputs.named_display("A", &connectors, once), NamedDisplay::Missing);
        assert_eq!(outputs.named_display("A", &connectors, keep), NamedDisplay::Awaited);
        let id = enabled(&mut outputs, "A", "one", 0);
        assert_eq!(outputs.named_display("A", &connectors, once), NamedDisplay::Enabled);
        outputs.on_lifecycle(id, Event::Disconnected, false);
        assert_eq!(outputs.named_display("A", &connectors, once), NamedDisplay::FinalDisconnect(1));
        assert_eq!(outputs.named_display("A", &connectors, keep), NamedDisplay::Awaited);
        assert_eq!(outputs.named_display("A", &connectors, once | keep), NamedDisplay::Awaited);
        outputs.on_lifecycle(id, Event::Enabled, false);
        outputs.on_lifecycle(id, Event::Disconnected, false);
        assert_eq!(outputs.named_display("A", &connectors, once | keep), NamedDisplay::FinalDisconnect(2));
    }
}
