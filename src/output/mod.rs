//! Outputs: the monitors that the service drives, and how each gets its frames.

pub mod color;
pub mod frame_clock;
pub mod frame_stats;
pub mod heads;
pub mod lifecycle;
pub mod outputs;
pub mod pacing;
pub mod planes;
pub mod redraw;
pub mod requests;
pub mod scanout;
pub mod swapchain;

use std::path::PathBuf;
use std::time::Duration;

use geom_color::adjustments::AdjustmentConfig;
use geom_display::identity::Monitor;
use geom_display::lifecycle::Lifecycle;
use geom_display::mode::Mode;
use geom_display::output_config::Transform;
use geom_display::plan::{LogicalRect, PlannedOutput};
use geom_display::signal_format::SignalFormat;
use smithay::backend::renderer::element::Id;
use smithay::desktop::{layer_map_for_output, LayerSurface};
use smithay::output::{Mode as WlMode, Output as WlOutput, PhysicalProperties, Scale, Subpixel};
use smithay::reexports::wayland_server::backend::GlobalId;
use smithay::utils::{Logical, Point, Rectangle, Transform as SmithayTransform};
use tracing::debug;

use crate::output::frame_stats::FrameStats;
use crate::output::scanout::Scanout;
use crate::render::geometry::FrameGeometry;
use crate::render::own_content::OwnContent;
use crate::render::scene::SurfaceImageDescription;

/// Identifies an output while the service runs. Names are for people, files and the control
/// protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(u32);

/// The part of an output's state that a commit decides about.
#[derive(Debug, Clone, PartialEq)]
pub struct StagedState {
    monitor: Monitor,
    logical: LogicalRect,
    mode: Option<Mode>,
    scale: f64,
    transform: SmithayTransform,
    blanked: bool,
    signal: SignalFormat,
    mirror: Option<String>,
    adjustments: AdjustmentConfig,
    icc: Option<PathBuf>,
    fullscreen_vrr: Option<bool>,
    warnings: Vec<String>,
    modes: Vec<Mode>,
}

/// One output.
pub struct Output {
    pub id: OutputId,
    pub name: String,
    pub lifecycle: Lifecycle,
    /// The connected monitor, or the last one.
    pub monitor: Monitor,
    /// How often its monitor was disconnected.
    pub disconnects: u32,
    /// How often any monitor was disconnected from its connector.
    pub port_disconnects: u32,
    pub logical: LogicalRect,
    pub mode: Option<Mode>,
    /// Framebuffer pixels per logical pixel.
    pub scale: f64,
    pub transform: SmithayTransform,
    /// Powered down (DPMS); everything else stays as it was.
    pub blanked: bool,
    pub signal: SignalFormat,
    /// The display that it mirrors.
    pub mirror: Option<String>,
    /// White point, brightness and night light as configured.
    pub adjustments: AdjustmentConfig,
    /// The ICC profile that is configured as its color space.
    pub icc: Option<PathBuf>,
    /// Visible surfaces with an image description other than sRGB.
    pub described_surfaces: Vec<(Id, SurfaceImageDescription)>,
    /// If VRR is configured for fullscreen windows only: whether there was one when it was planned.
    pub fullscreen_vrr: Option<bool>,
    /// Settings that could not be applied, with the reasons.
    pub warnings: Vec<String>,
    /// The modes of its monitor, best first.
    pub modes: Vec<Mode>,
    pub wl_output: WlOutput,
    /// The monitor that `wl_output` describes.
    advertised: Monitor,
    /// The `wl_output` global; present while the output is in the layout.
    pub global: Option<GlobalId>,
    pub scanout: Option<Scanout>,
    pub frame_stats: FrameStats,
    /// Modesets since the start.
    pub modesets: u64,
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
        let wl_output = wl_output(name, &Monitor::default());
        Self {
            id,
            name: name.to_owned(),
            lifecycle: Lifecycle::default(),
            monitor: Monitor::default(),
            disconnects: 0,
            port_disconnects: 0,
            logical: LogicalRect { x: 0, y: 0, width: 0, height: 0 },
            mode: None,
            scale: 1.0,
            transform: SmithayTransform::Normal,
            blanked: false,
            signal: SignalFormat::default(),
            mirror: None,
            adjustments: AdjustmentConfig::default(),
            icc: None,
            described_surfaces: Vec::new(),
            fullscreen_vrr: None,
            warnings: Vec::new(),
            modes: Vec::new(),
            wl_output,
            advertised: Monitor::default(),
            global: None,
            scanout: None,
            frame_stats: FrameStats::default(),
            modesets: 0,
            own_content: OwnContent::default(),
            identified_until: None,
        }
    }

    /// Returns whether it has a CRTC, or is an enabled virtual output.
    pub fn is_enabled(&self) -> bool {
        self.lifecycle.is_enabled()
    }

    /// Adds a warning about a setting that cannot be applied.
    pub fn add_warning(&mut self, warning: &str) {
        if !self.warnings.iter().any(|known| known == warning) {
            self.warnings.push(warning.to_owned());
        }
    }

    /// Returns whether it shows a part of the layout: it is enabled and mirrors no other output.
    pub fn is_in_layout(&self) -> bool {
        self.is_enabled() && self.mirror.is_none()
    }

    /// Returns the state that [`Self::stage`] changes.
    pub fn staged_state(&self) -> StagedState {
        StagedState {
            monitor: self.monitor.clone(),
            logical: self.logical,
            mode: self.mode,
            scale: self.scale,
            transform: self.transform,
            blanked: self.blanked,
            signal: self.signal,
            mirror: self.mirror.clone(),
            adjustments: self.adjustments,
            icc: self.icc.clone(),
            fullscreen_vrr: self.fullscreen_vrr,
            warnings: self.warnings.clone(),
            modes: self.modes.clone(),
        }
    }

    /// Goes back to an earlier state, which clients never saw replaced.
    pub fn restore(&mut self, before: StagedState) {
        self.monitor = before.monitor;
        self.logical = before.logical;
        self.mode = before.mode;
        self.scale = before.scale;
        self.transform = before.transform;
        self.blanked = before.blanked;
        self.signal = before.signal;
        self.mirror = before.mirror;
        self.adjustments = before.adjustments;
        self.icc = before.icc;
        self.fullscreen_vrr = before.fullscreen_vrr;
        self.warnings = before.warnings;
        self.modes = before.modes;
    }

    /// Takes over a resolved plan. Clients do not see it until [`Self::publish`].
    pub fn stage(
        &mut self,
        planned: &PlannedOutput,
        monitor: &Monitor,
        mode: Mode,
        signal: SignalFormat,
        warnings: &[String],
        modes: &[Mode],
    ) {
        self.monitor = monitor.clone();
        self.logical = planned.logical;
        self.mode = Some(mode);
        self.scale = planned.scale;
        self.transform = smithay_transform(planned.transform);
        self.signal = signal;
        self.mirror.clone_from(&planned.mirror);
        self.adjustments = planned.adjustments;
        self.icc.clone_from(&planned.icc);
        self.fullscreen_vrr = planned.fullscreen_vrr;
        self.warnings = warnings.to_vec();
        self.modes = modes.to_vec();
    }

    /// Returns whether its name is shown in large letters.
    pub fn is_identified(&self) -> bool {
        self.identified_until.is_some()
    }

    /// Makes another `wl_output` if the present one describes another monitor. Layer surfaces move
    /// to the new one.
    fn update_wl_output(&mut self) {
        if self.advertised == self.monitor {
            return;
        }
        self.advertised = self.monitor.clone();
        let old = std::mem::replace(&mut self.wl_output, wl_output(&self.name, &self.monitor));
        let layers: Vec<LayerSurface> = layer_map_for_output(&old).layers().cloned().collect();
        for layer in layers {
            layer_map_for_output(&old).unmap_layer(&layer);
            if let Err(error) = layer_map_for_output(&self.wl_output).map_layer(&layer) {
                debug!(display = self.name, %error, "layer surface is already gone");
            }
        }
    }

    /// Informs clients of the monitor, modes, scale, transform and position.
    pub fn publish(&mut self) {
        let Some(mode) = self.mode else { return };
        self.update_wl_output();
        let wl_mode = |mode: &Mode| WlMode {
            size: (i32::from(mode.width), i32::from(mode.height)).into(),
            refresh: mode.refresh as i32,
        };
        for stale in self.wl_output.modes() {
            if !self.modes.iter().any(|mode| wl_mode(mode) == stale) {
                self.wl_output.delete_mode(stale);
            }
        }
        for mode in &self.modes {
            self.wl_output.add_mode(wl_mode(mode));
        }
        if let Some(preferred) = self.modes.iter().find(|mode| mode.preferred) {
            self.wl_output.set_preferred(wl_mode(preferred));
        }
        let scale = match self.scale.fract() == 0.0 {
            true => Scale::Integer(self.scale as i32),
            false => Scale::Fractional(self.scale),
        };
        let position = (self.logical.x, self.logical.y).into();
        self.wl_output.change_current_state(
            Some(wl_mode(&mode)),
            Some(self.transform),
            Some(scale),
            Some(position),
        );
    }

    /// Returns the geometry of its framebuffer. `None` if it never was enabled.
    pub fn frame_geometry(&self) -> Option<FrameGeometry> {
        let mode = self.mode?;
        let size = (i32::from(mode.width), i32::from(mode.height)).into();
        Some(FrameGeometry { size, scale: self.scale, transform: self.transform })
    }

    /// Returns its rectangle in the layout.
    pub fn geometry(&self) -> Rectangle<i32, Logical> {
        Rectangle::new(
            (self.logical.x, self.logical.y).into(),
            (self.logical.width, self.logical.height).into(),
        )
    }

    /// Converts a point of the layout to coordinates of this output.
    pub fn local(&self, point: Point<f64, Logical>) -> Point<f64, Logical> {
        point - self.geometry().loc.to_f64()
    }
}
