//! A display as the rest of the program holds it: its name, place, `wl_output`, and scanout while
//! it is lit. A display whose monitor is gone stays, dark.

use std::path::PathBuf;

use smithay::desktop::{layer_map_for_output, LayerSurface};
use smithay::output::{Mode as OutputMode, Output, PhysicalProperties, Scale, Subpixel};
use smithay::reexports::wayland_server::backend::GlobalId;
use smithay::utils::{Logical, Point, Rectangle, Transform as SmithayTransform};
use tracing::debug;

use super::identity::Monitor;
use super::lifecycle::Life;
use super::link::Link;
use super::mode::Mode;
use super::plan::{Place, PlannedDisplay, Transform};
use super::tone::ToneWish;
use crate::metrics::Figures;
use crate::render::diagnostic;
use crate::render::inherited::Before;
use crate::render::label::Label;
use crate::render::notice::Notice;
use crate::render::scene::Described;
use crate::scanout::surface::Scanout;
use smithay::backend::renderer::element::solid::SolidColorBuffer;
use smithay::backend::renderer::element::Id;

/// One display.
pub struct Screen {
    pub name: String,
    pub life: Life,
    /// What is plugged in, or was last.
    pub monitor: Monitor,
    /// How often its monitor was lost.
    pub losses: u32,
    /// How often a monitor was lost at its connector, whichever.
    pub port_losses: u32,
    pub place: Place,
    pub mode: Option<Mode>,
    /// Its light is off for now, and all else as it was.
    pub blank: bool,
    pub link: Link,
    /// The display whose picture it shows instead of one of its own.
    pub mirror: Option<String>,
    /// Wishes for its light, and the profile of its colours.
    pub tone: ToneWish,
    pub icc: Option<PathBuf>,
    /// Surfaces on it of programs that describe their colours.
    pub described: Vec<(Id, Described)>,
    /// Where its refresh is to vary while a window has it for itself: whether one had when it was planned.
    pub by_window: Option<bool>,
    /// Wishes for it that could not be honoured, in words.
    pub complaints: Vec<String>,
    /// What its monitor offers, best first.
    pub modes: Vec<Mode>,
    pub output: Output,
    /// There while it is lit.
    pub global: Option<GlobalId>,
    pub scanout: Option<Scanout>,
    pub figures: Figures,
    pub diagnostic: diagnostic::Screen,
    pub backdrop: SolidColorBuffer,
    pub notice: Notice,
    /// Its name is shown large until then.
    pub identified_until: Option<std::time::Duration>,
    pub label: Label,
    /// What it showed before we had it: there until a window is.
    pub inherited: Option<Before>,
}

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

/// What clients are told of a monitor.
fn output(name: &str, monitor: &Monitor) -> Output {
    let known = monitor.identity.as_ref();
    let properties = PhysicalProperties {
        size: (monitor.size.0 as i32, monitor.size.1 as i32).into(),
        subpixel: Subpixel::Unknown,
        make: known.map_or_else(|| "Unknown".to_owned(), |known| known.make.clone()),
        model: known.map_or_else(|| name.to_owned(), |known| known.model.clone()),
    };
    Output::new(name.to_owned(), properties)
}

impl Screen {
    pub fn new(name: &str) -> Self {
        let output = output(name, &Monitor::default());
        Self {
            name: name.to_owned(),
            life: Life::default(),
            monitor: Monitor::default(),
            losses: 0,
            port_losses: 0,
            place: Place { x: 0, y: 0, width: 0, height: 0 },
            mode: None,
            blank: false,
            link: Link::default(),
            mirror: None,
            tone: ToneWish::default(),
            icc: None,
            described: Vec::new(),
            by_window: None,
            complaints: Vec::new(),
            modes: Vec::new(),
            output,
            global: None,
            scanout: None,
            figures: Figures::default(),
            diagnostic: diagnostic::Screen::default(),
            backdrop: SolidColorBuffer::default(),
            notice: Notice::default(),
            identified_until: None,
            label: Label::default(),
            inherited: None,
        }
    }

    /// Whether it is this monitor's.
    pub fn is_of(&self, monitor: &Monitor) -> bool {
        self.monitor == *monitor
    }

    /// The monitor that it is shown on from now on. Another one than before is another `wl_output`, with the panels that were on the
    /// old one.
    pub fn shows_on(&mut self, monitor: &Monitor) {
        if self.is_of(monitor) {
            return;
        }
        self.monitor = monitor.clone();
        let old = std::mem::replace(&mut self.output, output(&self.name, monitor));
        let layers: Vec<LayerSurface> = layer_map_for_output(&old).layers().cloned().collect();
        for layer in layers {
            layer_map_for_output(&old).unmap_layer(&layer);
            if let Err(error) = layer_map_for_output(&self.output).map_layer(&layer) {
                debug!(display = self.name, %error, "a panel is gone already");
            }
        }
    }

    pub fn is_lit(&self) -> bool {
        self.life.is_lit()
    }

    /// Notes a wish that can't be.
    pub fn complain(&mut self, what: &str) {
        if !self.complaints.iter().any(|known| known == what) {
            self.complaints.push(what.to_owned());
        }
    }

    /// Whether it shows a part of the layout.
    pub fn is_part(&self) -> bool {
        self.is_lit() && self.mirror.is_none()
    }

    /// Takes over what the plan says and clients are told.
    pub fn configure(&mut self, planned: &PlannedDisplay, mode: Mode, place: Place, modes: &[Mode]) {
        self.place = place;
        self.mode = Some(mode);
        self.mirror.clone_from(&planned.mirror);
        self.tone = planned.tone;
        self.by_window = planned.by_window;
        self.icc.clone_from(&planned.icc);
        self.modes = modes.to_vec();
        let output_mode = |mode: &Mode| OutputMode {
            size: (i32::from(mode.width), i32::from(mode.height)).into(),
            refresh: mode.refresh as i32,
        };
        for stale in self.output.modes() {
            if !modes.iter().any(|mode| output_mode(mode) == stale) {
                self.output.delete_mode(stale);
            }
        }
        for mode in modes {
            self.output.add_mode(output_mode(mode));
        }
        if let Some(preferred) = modes.iter().find(|mode| mode.preferred) {
            self.output.set_preferred(output_mode(preferred));
        }
        let whole = planned.scale.fract() == 0.0;
        let scale =
            if whole { Scale::Integer(planned.scale as i32) } else { Scale::Fractional(planned.scale) };
        self.output.change_current_state(
            Some(output_mode(&mode)),
            Some(smithay_transform(planned.transform)),
            Some(scale),
            Some((place.x, place.y).into()),
        );
    }

    pub fn scale(&self) -> f64 {
        self.output.current_scale().fractional_scale()
    }

    /// Its rectangle of the layout.
    pub fn geometry(&self) -> Rectangle<i32, Logical> {
        Rectangle::new((self.place.x, self.place.y).into(), (self.place.width, self.place.height).into())
    }

    /// A place of the layout as a place on this display.
    pub fn local(&self, point: Point<f64, Logical>) -> Point<f64, Logical> {
        point - self.geometry().loc.to_f64()
    }
}
