//! Outputs: the monitors that the service drives, and how each gets its frames.

pub mod color;
pub mod firmware;
pub mod frame_clock;
pub mod frame_stats;
pub mod heads;
pub mod icc_files;
pub mod lifecycle;
pub mod outputs;
pub mod pacing;
pub mod planes;
pub mod power_change;
pub mod redraw;
pub mod requests;
pub mod resolution;
pub mod scanout;
pub mod swapchain;

use std::path::PathBuf;
use std::time::Duration;

use geom_color::adjustments::AdjustmentConfig;
use geom_display::identity::Monitor;
use geom_display::lifecycle::Lifecycle;
use geom_display::mode::Mode;
use geom_display::output_config::Transform;
use geom_display::plan::LogicalRect;
use geom_display::signal_format::SignalFormat;
use smithay::backend::renderer::element::Id;
use smithay::desktop::{layer_map_for_output, LayerSurface};
use smithay::output::{Mode as WlMode, Output as WlOutput, PhysicalProperties, Scale, Subpixel};
use smithay::reexports::wayland_server::backend::GlobalId;
use smithay::utils::{Logical, Point, Rectangle, Transform as SmithayTransform};
use tracing::debug;

use crate::output::frame_stats::FrameStats;
use crate::output::power_change::PowerChange;
use crate::output::resolution::ResolvedOutput;
use crate::output::scanout::Scanout;
use crate::render::geometry::FrameGeometry;
use crate::render::own_content::OwnContent;
use crate::render::scene::SurfaceImageDescription;

/// Identifies an output while the service runs. Names are for people, files and the control
/// protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(u32);

/// The part of an output's state that a commit decides about: what is staged until the kernel
/// accepts it, and published to clients then.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputState {
    /// The connected monitor, or the last one.
    pub monitor: Monitor,
    pub logical: LogicalRect,
    pub mode: Option<Mode>,
    /// Framebuffer pixels per logical pixel.
    pub scale: f64,
    pub transform: SmithayTransform,
    /// Powered down (DPMS); everything else stays as it was.
    pub blanked: bool,
    pub signal: SignalFormat,
    /// The output that it mirrors.
    pub mirror: Option<OutputId>,
    /// White point, brightness and night light as configured.
    pub adjustments: AdjustmentConfig,
    /// The ICC profile that is configured as its color space.
    pub icc: Option<PathBuf>,
    /// If VRR is configured for fullscreen windows only: whether there was one when it was planned.
    pub fullscreen_vrr: Option<bool>,
    /// Settings that could not be applied, with the reasons.
    pub warnings: Vec<String>,
    /// The modes of its monitor, best first.
    pub modes: Vec<Mode>,
}

impl Default for OutputState {
    fn default() -> Self {
        Self {
            monitor: Monitor::default(),
            logical: LogicalRect { x: 0, y: 0, width: 0, height: 0 },
            mode: None,
            scale: 1.0,
            transform: SmithayTransform::Normal,
            blanked: false,
            signal: SignalFormat::default(),
            mirror: None,
            adjustments: AdjustmentConfig::default(),
            icc: None,
            fullscreen_vrr: None,
            warnings: Vec::new(),
            modes: Vec::new(),
        }
    }
}

/// The lowest rate in hertz of a monitor with a variable refresh rate whose EDID gives none: that
/// of most.
const USUAL_LOWEST_REFRESH: u16 = 48;

impl OutputState {
    /// Returns the lowest refresh rate in millihertz if it is variable.
    pub fn lowest_refresh(&self) -> Option<u32> {
        let lowest = self.monitor.min_refresh.unwrap_or(USUAL_LOWEST_REFRESH);
        self.signal.vrr.then(|| u32::from(lowest) * 1000)
    }
}

/// What is counted of an output since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputCounts {
    /// How often its monitor was disconnected.
    pub disconnects: u32,
    /// How often any monitor was disconnected from its connector.
    pub port_disconnects: u32,
    pub modesets: u64,
    pub frames: FrameStats,
}

/// What Wayland clients have of an output.
struct Published {
    wl_output: WlOutput,
    /// The monitor that `wl_output` describes.
    monitor: Monitor,
    /// The `wl_output` global; present while the output is in the layout.
    global: Option<GlobalId>,
}

/// One output.
pub struct Output {
    /// Never changes, as its name.
    pub id: OutputId,
    pub name: String,
    lifecycle: Lifecycle,
    state: OutputState,
    counts: OutputCounts,
    published: Published,
    /// Visible surfaces with an image description other than sRGB.
    described_surfaces: Vec<(Id, SurfaceImageDescription)>,
    power_change: PowerChange,
    /// Present while it is enabled.
    pub scanout: Option<Scanout>,
    /// What the compositor itself draws on it.
    pub own_content: OwnContent,
    /// Until when its name is shown in large letters.
    identified_until: Option<Duration>,
}

/// Returns Smithay's type for a transform.
pub fn smithay_transform(transform: Transform) -> SmithayTransform {
    match transform {
        Transform::Normal => SmithayTransform::Normal,
        Transform::Rotated90 => SmithayTransform::_90,
        Transform::Rotated180 => SmithayTransform::_180,
        Transform::Rotated270 => SmithayTransform::_270,
        Transform::Flipped => SmithayTransform::Flipped,
        Transform::Flipped90 => SmithayTransform::Flipped90,
        Transform::Flipped180 => SmithayTransform::Flipped180,
        Transform::Flipped270 => SmithayTransform::Flipped270,
    }
}

/// Returns the `wl_output` that describes a monitor to clients.
fn wl_output(name: &str, monitor: &Monitor) -> WlOutput {
    let identity = monitor.identity.as_ref();
    let properties = PhysicalProperties {
        size: (monitor.size.0 as i32, monitor.size.1 as i32).into(),
        subpixel: Subpixel::Unknown,
        make: identity.map_or_else(|| "Unknown".to_owned(), |identity| identity.make.clone()),
        model: identity.map_or_else(|| name.to_owned(), |identity| identity.model.clone()),
    };
    WlOutput::new(name.to_owned(), properties)
}

impl Output {
    fn new(id: OutputId, name: &str) -> Self {
        let monitor = Monitor::default();
        Self {
            id,
            name: name.to_owned(),
            lifecycle: Lifecycle::default(),
            state: OutputState::default(),
            counts: OutputCounts::default(),
            published: Published { wl_output: wl_output(name, &monitor), monitor, global: None },
            described_surfaces: Vec::new(),
            power_change: PowerChange::default(),
            scanout: None,
            own_content: OwnContent::default(),
            identified_until: None,
        }
    }

    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    pub fn state(&self) -> &OutputState {
        &self.state
    }

    pub fn counts(&self) -> &OutputCounts {
        &self.counts
    }

    /// Returns the object that describes it to clients.
    pub fn wl_output(&self) -> &WlOutput {
        &self.published.wl_output
    }

    /// Returns whether it has a CRTC, or is an enabled virtual output.
    pub fn is_enabled(&self) -> bool {
        self.lifecycle.is_enabled()
    }

    /// Returns whether it shows a part of the layout: it is enabled and mirrors no other output.
    pub fn is_in_layout(&self) -> bool {
        self.is_enabled() && self.state.mirror.is_none()
    }

    /// Adds a warning about a setting that cannot be applied.
    pub fn add_warning(&mut self, warning: &str) {
        if !self.state.warnings.iter().any(|known| known == warning) {
            self.state.warnings.push(warning.to_owned());
        }
    }

    /// Notes that it was powered down or up.
    pub fn set_blanked(&mut self, blanked: bool) {
        self.state.blanked = blanked;
    }

    /// Notes the monitor of a display that is not enabled, so that it is listed with its modes.
    pub fn list(&mut self, monitor: Monitor, modes: Vec<Mode>) {
        if !self.is_enabled() {
            (self.state.monitor, self.state.modes) = (monitor, modes);
        }
    }

    /// Counts a modeset.
    pub fn modeset_done(&mut self) {
        self.scanout.iter_mut().for_each(Scanout::modeset_done);
        self.counts.modesets += 1;
    }

    /// Notes the visible surfaces with an image description. Returns whether that changed.
    pub fn describe_surfaces(&mut self, described: Vec<(Id, SurfaceImageDescription)>) -> bool {
        let is_changed = self.described_surfaces != described;
        self.described_surfaces = described;
        is_changed
    }

    /// Goes back to an earlier state, which clients never saw replaced.
    pub fn restore(&mut self, before: OutputState) {
        self.state = before;
    }

    /// Takes over a resolved plan. `mirror` is the output that it mirrors. Clients do not see it
    /// until [`Self::publish`].
    pub fn stage(&mut self, resolved: &ResolvedOutput, mirror: Option<OutputId>) {
        let planned = &resolved.planned;
        self.state = OutputState {
            monitor: resolved.monitor.clone(),
            logical: planned.logical,
            mode: Some(resolved.mode),
            scale: planned.scale,
            transform: smithay_transform(planned.transform),
            blanked: self.state.blanked,
            signal: resolved.signal,
            mirror,
            adjustments: planned.adjustments,
            icc: planned.icc.clone(),
            fullscreen_vrr: planned.fullscreen_vrr,
            warnings: resolved.warnings.clone(),
            modes: resolved.modes.clone(),
        };
    }

    /// Returns whether its name is shown in large letters.
    pub fn is_identified(&self) -> bool {
        self.identified_until.is_some()
    }

    /// Makes another `wl_output` if the present one describes another monitor. Layer surfaces move
    /// to the new one.
    fn update_wl_output(&mut self) {
        if self.published.monitor == self.state.monitor {
            return;
        }
        self.published.monitor = self.state.monitor.clone();
        let old =
            std::mem::replace(&mut self.published.wl_output, wl_output(&self.name, &self.state.monitor));
        let layers: Vec<LayerSurface> = layer_map_for_output(&old).layers().cloned().collect();
        for layer in layers {
            layer_map_for_output(&old).unmap_layer(&layer);
            if let Err(error) = layer_map_for_output(&self.published.wl_output).map_layer(&layer) {
                debug!(display = self.name, %error, "layer surface is already gone");
            }
        }
    }

    /// Informs clients of the monitor, modes, scale, transform and position.
    pub fn publish(&mut self) {
        let Some(mode) = self.state.mode else { return };
        self.update_wl_output();
        let wl_mode = |mode: &Mode| WlMode {
            size: (i32::from(mode.width), i32::from(mode.height)).into(),
            refresh: mode.refresh as i32,
        };
        for stale in self.published.wl_output.modes() {
            if !self.state.modes.iter().any(|mode| wl_mode(mode) == stale) {
                self.published.wl_output.delete_mode(stale);
            }
        }
        for mode in &self.state.modes {
            self.published.wl_output.add_mode(wl_mode(mode));
        }
        if let Some(preferred) = self.state.modes.iter().find(|mode| mode.preferred) {
            self.published.wl_output.set_preferred(wl_mode(preferred));
        }
        let scale = match self.state.scale.fract() == 0.0 {
            true => Scale::Integer(self.state.scale as i32),
            false => Scale::Fractional(self.state.scale),
        };
        let position = (self.state.logical.x, self.state.logical.y).into();
        self.published.wl_output.change_current_state(
            Some(wl_mode(&mode)),
            Some(self.state.transform),
            Some(scale),
            Some(position),
        );
    }

    /// Returns the geometry of its framebuffer. `None` if it never was enabled.
    pub fn frame_geometry(&self) -> Option<FrameGeometry> {
        let mode = self.state.mode?;
        let size = (i32::from(mode.width), i32::from(mode.height)).into();
        Some(FrameGeometry { size, scale: self.state.scale, transform: self.state.transform })
    }

    /// Returns its rectangle in the layout.
    pub fn geometry(&self) -> Rectangle<i32, Logical> {
        Rectangle::new(
            (self.state.logical.x, self.state.logical.y).into(),
            (self.state.logical.width, self.state.logical.height).into(),
        )
    }

    /// Converts a point of the layout to coordinates of this output.
    pub fn local(&self, point: Point<f64, Logical>) -> Point<f64, Logical> {
        point - self.geometry().loc.to_f64()
    }

    /// Creates the `wl_output` global of an output of the layout; mirrors have none. Returns the
    /// global that it has no longer.
    pub fn update_global(&mut self, create: impl FnOnce(&WlOutput) -> GlobalId) -> Option<GlobalId> {
        if !self.is_in_layout() {
            return self.published.global.take();
        }
        if self.published.global.is_none() {
            self.published.global = Some(create(&self.published.wl_output));
        }
        None
    }
}

#[cfg(test)]
impl Output {
    pub fn state_mut(&mut self) -> &mut OutputState {
        &mut self.state
    }

    pub fn set_lifecycle(&mut self, lifecycle: Lifecycle) {
        self.lifecycle = lifecycle;
    }

    pub fn has_global(&self) -> bool {
        self.published.global.is_some()
    }
}
