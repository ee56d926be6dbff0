//! color-management: programs describe the color of their pictures, and hear which ones displays show.
//!
//! Source: color-management-v1.xml. Descriptions by numbers; how they are brought to a display is `display::description`'s business.

use std::cell::Cell;

use smithay::backend::renderer::element::Id;
use smithay::output::Output;
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_color_management_output_v1::{
    self, WpColorManagementOutputV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_color_management_surface_feedback_v1::{
    self, WpColorManagementSurfaceFeedbackV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_color_management_surface_v1::{
    self, WpColorManagementSurfaceV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_color_manager_v1::{
    self, Feature, RenderIntent, TransferFunction, WpColorManagerV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_image_description_v1::{
    self, Cause, WpImageDescriptionV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource, WEnum,
};
use smithay::wayland::compositor::{with_states, with_surface_tree_downward, Cacheable, TraversalAction};
use geom_color::target::ColorTarget;
use geom_color::image_description::{ImageDescription, TransferFunction as Transfer};

use super::image_description::{Creator, Made};
use crate::render::scene::Described;
use crate::output::scanout::Scanout;
use crate::compositor::scene::VisibleSurfaces;
use crate::compositor::deadline::Deadline;
use crate::compositor::State;
use crate::output::OutputId;

/// The global.
pub struct Global;

/// Who is told, and what was.
#[derive(Default)]
pub struct ColorManagement {
    /// Some program uses it: surfaces have to be looked at.
    used: bool,
    announced: bool,
    /// By identity, which is the place from 1 on.
    known: Vec<ImageDescription>,
    outputs: Vec<(String, WpColorManagementOutputV1, ImageDescription)>,
    feedbacks: Vec<(WlSurface, WpColorManagementSurfaceFeedbackV1, ImageDescription)>,
}

impl ColorManagement {
    /// The same number for the same color.
    fn identity(&mut self, description: ImageDescription) -> u32 {
        let place = self.known.iter().position(|known| *known == description).unwrap_or_else(|| {
            self.known.push(description);
            self.known.len() - 1
        });
        place as u32 + 1
    }
}

/// A surface's color, which come with its next commit.
#[derive(Debug, Default, Clone, Copy)]
pub struct SurfaceColor(Option<Described>);

impl Cacheable for SurfaceColor {
    fn commit(&mut self, _: &DisplayHandle) -> Self {
        *self
    }

    fn merge_into(self, into: &mut Self, _: &DisplayHandle) {
        *into = self;
    }
}

/// Set while a surface has an object of ours.
#[derive(Default)]
struct Taken(Cell<bool>);

/// The display of an output's object, by name.
pub struct Of(String);

impl State {
    /// Surfaces whose color are not sRGB.
    pub fn described(&self, seen: &VisibleSurfaces) -> Vec<(Id, Described)> {
        let mut found = Vec::new();
        if !self.protocols.color.used {
            return found;
        }
        for placed in &seen.placed {
            with_surface_tree_downward(
                &placed.surface,
                (),
                |_, _, ()| TraversalAction::DoChildren(()),
                |surface, states, ()| {
                    if let Some(described) = states.cached_state.get::<SurfaceColor>().current().0 {
                        found.push((Id::from_wayland_resource(surface), described));
                    }
                },
                |_, _, ()| true,
            );
        }
        found
    }

    /// Updates an output's color conversion if its visible surfaces have other image descriptions than in the last frame.
    pub fn update_described(&mut self, id: OutputId, visible: &VisibleSurfaces) {
        if !self.protocols.color.used {
            return;
        }
        let described = self.described(visible);
        if let Some(output) = self.outputs.get_mut(id).filter(|output| output.described != described) {
            output.described = described;
            // A surface may have another image description and no new buffer.
            output.scanout.iter_mut().for_each(Scanout::forget_pictures);
            self.update_color_conversion(id);
        }
    }

    /// The color that a display shows.
    fn shown_color(&self, name: &str) -> ImageDescription {
        let Some(output) = self.outputs.named(name) else { return ImageDescription::SRGB };
        let look =
            ColorTarget { space: output.signal.color_space, native: output.monitor.primaries, ..ColorTarget::default() };
        ImageDescription::for_target(&look)
    }

    /// The color that suit a surface: its display's.
    fn preferred_color(&self, surface: &WlSurface) -> ImageDescription {
        let name = self.output_of(surface).and_then(|id| self.outputs.name(id));
        name.map_or(ImageDescription::SRGB, |name| self.shown_color(name))
    }

    /// Announces the protocol where everything that draws can do it, and tells what changed.
    pub fn send_image_descriptions(&mut self) {
        let can = self.backend.gpus().all(|gpu| gpu.renderer.converts());
        if can && !self.protocols.color.announced {
            self.protocols.color.announced = true;
            self.display_handle.create_global::<Self, WpColorManagerV1, _>(1, Global);
        }
        if !self.protocols.color.used {
            return;
        }
        let mut color = std::mem::take(&mut self.protocols.color);
        for (name, output, told) in &mut color.outputs {
            let now = self.shown_color(name);
            if now != *told {
                *told = now;
                output.image_description_changed();
            }
        }
        let mut feedbacks = std::mem::take(&mut color.feedbacks);
        for (surface, feedback, told) in &mut feedbacks {
            let now = self.preferred_color(surface);
            if now != *told {
                *told = now;
                feedback.preferred_changed(color.identity(now));
            }
        }
        color.feedbacks = feedbacks;
        self.protocols.color = color;
    }

    /// Answers a request for a description with one of ours.
    pub(super) fn give(
        &mut self,
        id: New<WpImageDescriptionV1>,
        description: Result<ImageDescription, (Cause, &str)>,
        tells: bool,
        init: &mut DataInit<'_, Self>,
    ) {
        match description {
            Ok(description) => {
                let identity = self.protocols.color.identity(description);
                init.init(id, Made { description: Some(description), tells }).ready(identity);
            }
            Err((cause, why)) => init.init(id, Made { description: None, tells }).failed(cause, why.into()),
        }
    }
}

impl GlobalDispatch<WpColorManagerV1, Global> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<WpColorManagerV1>,
        _: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        let manager = init.init(manager, ());
        for intent in [RenderIntent::Perceptual, RenderIntent::Relative] {
            manager.supported_intent(intent);
        }
        for feature in [
            Feature::Parametric,
            Feature::SetPrimaries,
            Feature::SetTfPower,
            Feature::SetLuminances,
            Feature::SetMasteringDisplayPrimaries,
        ] {
            manager.supported_feature(feature);
        }
        for (transfer, _) in TRANSFERS {
            manager.supported_tf_named(transfer);
        }
        for (primaries, _) in super::image_description::PRIMARIES {
            manager.supported_primaries_named(primaries);
        }
        manager.done();
    }
}

/// Transfer functions by the protocol's names (ITU-R BT.1886 has a power of 2.4 where black is black).
pub const TRANSFERS: [(TransferFunction, Transfer); 6] = [
    (TransferFunction::Srgb, Transfer::Srgb),
    (TransferFunction::Gamma22, Transfer::Power(2.2)),
    (TransferFunction::Gamma28, Transfer::Power(2.8)),
    (TransferFunction::Bt1886, Transfer::Power(2.4)),
    (TransferFunction::St2084Pq, Transfer::Pq),
    (TransferFunction::Hlg, Transfer::Hlg),
];

impl Dispatch<WpColorManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        manager: &WpColorManagerV1,
        request: wp_color_manager_v1::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use wp_color_manager_v1::Request;
        let unsupported = |what: &str| {
            manager
                .post_error(wp_color_manager_v1::Error::UnsupportedFeature, format!("{what} is not offered"));
        };
        state.protocols.color.used = true;
        match request {
            Request::GetOutput { id, output } => {
                let name = Output::from_resource(&output).map(|output| output.name()).unwrap_or_default();
                let shown = state.shown_color(&name);
                let object = init.init(id, Of(name.clone()));
                state.protocols.color.outputs.push((name, object, shown));
            }
            Request::GetSurface { id, surface } => {
                let taken = with_states(&surface, |states| {
                    states.data_map.insert_if_missing(Taken::default);
                    states.data_map.get::<Taken>().is_some_and(|taken| taken.0.replace(true))
                });
                init.init(id, surface);
                if taken {
                    let error = wp_color_manager_v1::Error::SurfaceExists;
                    manager.post_error(error, "the surface has such an object");
                }
            }
            Request::GetSurfaceFeedback { id, surface } => {
                let preferred = state.preferred_color(&surface);
                let feedback = init.init(id, surface.clone());
                state.protocols.color.feedbacks.push((surface, feedback, preferred));
            }
            Request::CreateParametricCreator { obj } => drop(init.init(obj, Creator::default())),
            // Programs that ask for what was not announced are ended; the objects belong to nobody.
            Request::CreateIccCreator { obj } => {
                init.init(obj, ());
                unsupported("icc_v2_v4");
            }
            Request::CreateWindowsScrgb { image_description } => {
                state.give(image_description, Err((Cause::Unsupported, "")), false, init);
                unsupported("windows_scrgb");
            }
            _ => {}
        }
    }
}

impl Dispatch<WpColorManagementOutputV1, Of> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &WpColorManagementOutputV1,
        request: wp_color_management_output_v1::Request,
        Of(name): &Of,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let wp_color_management_output_v1::Request::GetImageDescription { image_description } = request
        else {
            return;
        };
        let lit = state.outputs.named(name).is_some_and(|output| output.is_enabled());
        let shown = state.shown_color(name);
        let answer = if lit { Ok(shown) } else { Err((Cause::NoOutput, "the display is gone")) };
        state.give(image_description, answer, true, init);
    }

    fn destroyed(state: &mut Self, _: ClientId, object: &WpColorManagementOutputV1, _: &Of) {
        state.protocols.color.outputs.retain(|(_, known, _)| known != object);
    }
}

impl Dispatch<WpColorManagementSurfaceFeedbackV1, WlSurface> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        feedback: &WpColorManagementSurfaceFeedbackV1,
        request: wp_color_management_surface_feedback_v1::Request,
        surface: &WlSurface,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use wp_color_management_surface_feedback_v1::Request;
        match request {
            Request::GetPreferred { image_description }
            | Request::GetPreferredParametric { image_description } => {
                let preferred = state.preferred_color(surface);
                state.give(image_description, Ok(preferred), true, init);
                if !surface.is_alive() {
                    let error = wp_color_management_surface_feedback_v1::Error::Inert;
                    feedback.post_error(error, "the surface is gone");
                }
            }
            _ => {}
        }
    }

    fn destroyed(state: &mut Self, _: ClientId, object: &WpColorManagementSurfaceFeedbackV1, _: &WlSurface) {
        state.protocols.color.feedbacks.retain(|(_, known, _)| known != object);
    }
}

fn set(surface: &WlSurface, color: SurfaceColor) {
    with_states(surface, |states| *states.cached_state.get::<SurfaceColor>().pending() = color);
}

impl Dispatch<WpColorManagementSurfaceV1, WlSurface> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        object: &WpColorManagementSurfaceV1,
        request: wp_color_management_surface_v1::Request,
        surface: &WlSurface,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        use wp_color_management_surface_v1::{Error, Request};
        let inert = !surface.is_alive();
        match request {
            Request::SetImageDescription { .. } | Request::UnsetImageDescription if inert => {
                object.post_error(Error::Inert, "the surface is gone");
            }
            Request::SetImageDescription { image_description, render_intent } => {
                let description = image_description.data::<Made>().and_then(|made| made.description);
                let Some(description) = description else {
                    object.post_error(Error::ImageDescription, "the description is not ready");
                    return;
                };
                let perceptual = match render_intent {
                    WEnum::Value(RenderIntent::Perceptual) => true,
                    WEnum::Value(RenderIntent::Relative) => false,
                    _ => {
                        object.post_error(Error::RenderIntent, "the intent was not offered");
                        return;
                    }
                };
                let described = Described { description, perceptual };
                set(surface, SurfaceColor(Some(described).filter(|_| !description.is_srgb())));
            }
            Request::UnsetImageDescription => set(surface, SurfaceColor(None)),
            Request::Destroy if !inert => {
                set(surface, SurfaceColor(None));
                with_states(surface, |states| {
                    states.data_map.get::<Taken>().inspect(|taken| taken.0.set(false));
                });
            }
            _ => {}
        }
    }
}

impl Dispatch<WpImageDescriptionV1, Made> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        object: &WpImageDescriptionV1,
        request: wp_image_description_v1::Request,
        made: &Made,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use wp_image_description_v1::{Error, Request};
        let Request::GetInformation { information } = request else { return };
        let information = init.init(information, ());
        match made.description {
            None => object.post_error(Error::NotReady, "the description failed"),
            Some(_) if !made.tells => object.post_error(Error::NoInformation, "the program knows it already"),
            // Not now: its last event ends the object, which the library has not quite made yet.
            Some(description) => {
                let now = state.now();
                let description = Box::new(description);
                state.timers.at(now, Deadline::SendImageDescription { information, description });
            }
        }
    }
}
