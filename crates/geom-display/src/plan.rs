//! The plan: the desired state of every output, a pure function of what is present and what is
//! configured.
//!
//! ```text
//!  GPU 1: ProbedConnector, …   ─┐
//!  GPU 2: ProbedConnector, …   ─┼─> plan() ──> enabled: modes to try, rectangle, scale, …
//!  OutputConfigs               ─┤              disabled, and why
//!  rectangles of known outputs ─┘
//! ```
//!
//! An output keeps its rectangle while its monitor is disconnected, so unplugging one monitor moves
//! no other. A monitor that is new goes to the right of all others; several new ones are placed in
//! connector order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use geom_color::adjustments::AdjustmentConfig;

use crate::identity::Identity;
use crate::mode::{ConfiguredMode, Mode};
use crate::output_config::{OutputConfig, OutputConfigs, Transform};
use crate::signal_format::{self, Capabilities, SignalFormat, Vrr};

mod arrange;

/// A connector as the last probe found it. The default is one without a monitor.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProbedConnector {
    /// The kernel's name, as `HDMI-A-1`.
    pub name: String,
    /// Whether a monitor is connected.
    pub connected: bool,
    /// The kernel's list of modes, in its order.
    pub modes: Vec<Mode>,
    /// The identity of the monitor.
    pub monitor: Option<Identity>,
    /// The [name of its EDID](crate::identity::edid_name).
    pub edid: Option<String>,
    /// The port; see [`MonitorIds::port`](crate::identity::MonitorIds::port).
    pub port: Option<String>,
    /// What connector and monitor support.
    pub capabilities: Capabilities,
    /// Whether the monitor is not for a desktop, as a headset.
    pub non_desktop: bool,
    /// The transform of a panel that is built in turned.
    pub panel_orientation: Transform,
    /// The part of a tiled monitor that it drives.
    pub tile: Option<Tile>,
}

/// A part of a monitor that several connectors drive, as some with 5120x2880 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// The kernel's number of the monitor.
    pub group: u32,
    /// Its column, from 0 on the left.
    pub column: u32,
    /// Its row, from 0 at the top.
    pub row: u32,
}

/// The connectors of one GPU, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbedGpu {
    /// The GPU's id.
    pub id: u64,
    /// Its connectors.
    pub connectors: Vec<ProbedConnector>,
}

/// Returns the connectors with a desktop monitor, and those of them that have a mode.
pub fn desktop_connectors(present: &[ProbedGpu]) -> (BTreeSet<String>, BTreeSet<String>) {
    let connectors = present.iter().flat_map(|gpu| &gpu.connectors);
    let monitors = connectors.filter(|connector| connector.connected && !connector.non_desktop);
    let has_mode = |connector: &&ProbedConnector| !connector.modes.is_empty();
    let names = |connector: &ProbedConnector| connector.name.clone();
    (monitors.clone().map(names).collect(), monitors.filter(has_mode).map(names).collect())
}

/// A rectangle of the layout, in logical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogicalRect {
    /// Left edge.
    pub x: i32,
    /// Top edge.
    pub y: i32,
    /// Width.
    pub width: i32,
    /// Height.
    pub height: i32,
}

impl LogicalRect {
    /// Returns whether two rectangles have a common pixel.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }
}

/// Why a connected monitor is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DisabledReason {
    /// The configuration disables it.
    #[error("disabled in the configuration")]
    Configured,
    /// The command line names other outputs.
    #[error("not among the displays named by --display")]
    NotNamed,
    /// The connector has no mode.
    #[error("the connector has no mode")]
    NoModes,
    /// The monitor is a headset or the like.
    #[error("not a desktop monitor")]
    NonDesktop,
}

/// The desired state of a monitor.
#[derive(Debug, Clone, PartialEq)]
pub enum PlanTarget {
    /// Enabled.
    Enabled {
        /// The configured mode first, then its alternatives, best first; not empty.
        modes: Vec<Mode>,
        /// The signal format.
        signal: SignalFormat,
    },
    /// Disabled.
    Disabled(DisabledReason),
}

/// The plan for one connected monitor.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedOutput {
    /// The id of its GPU.
    pub gpu: u64,
    /// The name of its connector.
    pub name: String,
    /// The desired state.
    pub target: PlanTarget,
    /// Its rectangle in the layout; empty for a disabled output and for a mirror.
    pub logical: LogicalRect,
    /// Device pixels per logical pixel.
    pub scale: f64,
    /// The rotation.
    pub transform: Transform,
    /// The output that it mirrors.
    pub mirror: Option<String>,
    /// The ICC profile for [`ColorSpace::Icc`](geom_color::color_space::ColorSpace::Icc).
    pub icc: Option<PathBuf>,
    /// White point, brightness, night light.
    pub adjustments: AdjustmentConfig,
    /// With [`Vrr::Fullscreen`]: whether the output had a fullscreen window when it was planned.
    pub fullscreen_vrr: Option<bool>,
    /// Settings that cannot be applied and why, for the log, the control API and the diagnostic
    /// screen.
    pub warnings: Vec<String>,
}

/// The desired state of all outputs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// In the order of GPUs and their connectors.
    pub outputs: Vec<PlannedOutput>,
}

impl Plan {
    /// Returns the plan for an output.
    pub fn output(&self, name: &str) -> Option<&PlannedOutput> {
        self.outputs.iter().find(|output| output.name == name)
    }
}

/// Returns the modes to try, best first.
///
/// The order is that in which a person would give things up: the configured mode, or else the one
/// that the kernel's command line asks for, the same size at other refresh rates, the monitor's
/// preferred mode, smaller modes by size and refresh rate, and larger ones. Interlaced modes come
/// last, and no mode comes twice.
pub fn mode_candidates(modes: &[Mode], configured: Option<ConfiguredMode>) -> Vec<Mode> {
    let preferred = modes.iter().find(|mode| mode.preferred).or(modes.first());
    let found = configured.and_then(|configured| {
        if let Some(line) = configured.modeline {
            return Some(Mode::from_modeline(line));
        }
        let listed = modes.iter().filter(|mode| configured.matches(mode));
        listed.max_by_key(|mode| (!mode.interlaced, mode.refresh)).copied()
    });
    let requested = modes.iter().find(|mode| mode.requested);
    let Some(first) = found.or(requested.or(preferred).copied()) else { return Vec::new() };
    let mut rest: Vec<Mode> = modes.iter().filter(|mode| mode.index != first.index).copied().collect();
    rest.sort_by_key(|mode| {
        let same_size = (mode.width, mode.height) == (first.width, first.height);
        let is_larger = mode.area() > first.area();
        (
            mode.interlaced && !first.interlaced,
            !same_size,
            !(mode.preferred && preferred.is_some_and(|preferred| preferred.index == mode.index)),
            is_larger,
            if is_larger { mode.area() } else { u32::MAX - mode.area() },
            u32::MAX - mode.refresh,
        )
    });
    let mut all = vec![first];
    for mode in rest {
        let is_same = |known: &Mode| {
            (known.width, known.height, known.refresh, known.interlaced, known.modeline)
                == (mode.width, mode.height, mode.refresh, mode.interlaced, mode.modeline)
        };
        if !all.iter().any(is_same) {
            all.push(mode);
        }
    }
    all
}

/// Returns the size of an output in logical pixels.
pub fn logical_size(mode: &Mode, scale: f64, transform: Transform) -> (i32, i32) {
    let scaled = |pixels: u16| ((f64::from(pixels) / scale).round() as i32).max(1);
    let (width, height) = (scaled(mode.width), scaled(mode.height));
    if transform.swaps_axes() {
        (height, width)
    } else {
        (width, height)
    }
}

/// Computes the plan.
///
/// `known` are the rectangles of outputs that were enabled before, disconnected ones included. Each
/// output keeps its rectangle unless the configuration says otherwise or it would overlap.
pub fn plan(present: &[ProbedGpu], configs: &OutputConfigs, known: &BTreeMap<String, LogicalRect>) -> Plan {
    let no_config = OutputConfig::default();
    let mut outputs = Vec::new();
    for gpu in present {
        for connector in gpu.connectors.iter().filter(|connector| connector.connected) {
            let config = configs.outputs.get(&connector.name).unwrap_or(&no_config);
            let (target, warnings) = target(connector, config, configs);
            let scale = config.scale.filter(|scale| scale.is_finite() && *scale > 0.0).unwrap_or(1.0);
            let transform = config.transform.unwrap_or(connector.panel_orientation);
            let (width, height) = match &target {
                PlanTarget::Enabled { modes, .. } => {
                    modes.first().map_or((0, 0), |mode| logical_size(mode, scale, transform))
                }
                PlanTarget::Disabled(_) => (0, 0),
            };
            outputs.push(PlannedOutput {
                gpu: gpu.id,
                name: connector.name.clone(),
                target,
                logical: LogicalRect { x: 0, y: 0, width, height },
                scale,
                transform,
                mirror: None,
                icc: config.icc.clone(),
                adjustments: config.adjustments,
                fullscreen_vrr: (config.signal.vrr == Some(Vrr::Fullscreen))
                    .then(|| configs.fullscreen.contains(&connector.name)),
                warnings,
            });
        }
    }
    resolve_mirrors(&mut outputs, configs);
    let positions = arrange::positions(&outputs, configs, &tiles(present));
    arrange::arrange(&mut outputs, &positions, known);
    Plan { outputs }
}

/// Returns the tiles of connected connectors, by name, each with its GPU, which numbers the
/// monitors.
fn tiles(present: &[ProbedGpu]) -> BTreeMap<&str, (u64, Tile)> {
    let connectors = present.iter().flat_map(|gpu| gpu.connectors.iter().map(|one| (gpu.id, one)));
    let connected = connectors.filter(|(_, connector)| connector.connected);
    connected.filter_map(|(gpu, one)| Some((one.name.as_str(), (gpu, one.tile?)))).collect()
}

/// Finds the output that each mirror shows: an enabled one that is not a mirror itself. Mirrors get
/// no rectangle in the layout.
fn resolve_mirrors(outputs: &mut [PlannedOutput], configs: &OutputConfigs) {
    let configured = |name: &str| {
        let config = configs.outputs.get(name)?;
        config.mirror.as_deref().filter(|source| !source.is_empty())
    };
    let is_enabled = |output: &&PlannedOutput| matches!(output.target, PlanTarget::Enabled { .. });
    let found: Vec<Option<Result<usize, String>>> = outputs
        .iter()
        .map(|output| {
            let mut source = configured(&output.name).filter(|_| is_enabled(&output))?;
            // A mirror of a mirror shows the same output as both.
            for _ in 0..outputs.len() {
                let matches = |other: &PlannedOutput| other.name == source && is_enabled(&other);
                let Some(index) = outputs.iter().position(matches) else {
                    return Some(Err(format!("mirror cannot be applied: {source} is not enabled")));
                };
                match configured(source) {
                    Some(next) => source = next,
                    None => return Some(Ok(index)),
                }
            }
            Some(Err("mirror cannot be applied: the display would mirror itself".into()))
        })
        .collect();
    for (index, found) in found.into_iter().enumerate() {
        match found {
            Some(Ok(source)) => {
                let (name, scale) = (outputs[source].name.clone(), outputs[source].scale);
                let output = &mut outputs[index];
                // The image is rendered at the scale of its source.
                (output.mirror, output.scale) = (Some(name), scale);
                (output.logical.width, output.logical.height) = (0, 0);
            }
            Some(Err(warning)) => outputs[index].warnings.push(warning),
            None => {}
        }
    }
}

/// Returns the desired state of one monitor, and the settings that cannot be applied.
fn target(
    connector: &ProbedConnector,
    config: &OutputConfig,
    configs: &OutputConfigs,
) -> (PlanTarget, Vec<String>) {
    let only = &configs.only;
    let disabled = |reason| (PlanTarget::Disabled(reason), Vec::new());
    if connector.non_desktop {
        return disabled(DisabledReason::NonDesktop);
    }
    if !only.is_empty() && !only.contains(&connector.name) {
        return disabled(DisabledReason::NotNamed);
    }
    // The command line takes precedence over the file.
    if config.enabled == Some(false) && !only.contains(&connector.name) {
        return disabled(DisabledReason::Configured);
    }
    let modes = mode_candidates(&connector.modes, config.mode);
    let Some(first) = modes.first() else { return disabled(DisabledReason::NoModes) };
    let is_fullscreen = configs.fullscreen.contains(&connector.name);
    let (signal, mut warnings) =
        signal_format::resolve(config.signal, &connector.capabilities, is_fullscreen);
    let warning = config
        .mode
        .filter(|mode| !mode.matches(first))
        .map(|mode| format!("mode {mode} is not in the monitor's list; using {first}"));
    warnings.extend(warning);
    (PlanTarget::Enabled { modes, signal }, warnings)
}

#[cfg(test)]
mod tests;
