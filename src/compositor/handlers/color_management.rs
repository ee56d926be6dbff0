//! color-management: clients set image descriptions for their surfaces, and get those of outputs.
//!
//! Source: color-management-v1.xml. Parametric descriptions only. `geom_color::image_description`
//! and `geom_color::conversion` convert them to an output's color space.

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

use super::image_description::{Creator, DescriptionData};
use crate::compositor::deadline::Deadline;
use crate::compositor::State;
use crate::output::scanout::Scanout;
use crate::output::OutputId;
use crate::render::scene::SurfaceImageDescription;
use crate::render::visible::VisibleSurfaces;

/// The user data of the global.
pub struct Global;

/// Objects to which changes are sent, with the image descriptions sent last.
#[derive(Default)]
pub struct ColorManagement {
    /// A client uses the protocol: surfaces may have image descriptions.
    used: bool,
    has_global: bool,
    /// All image descriptions. The identity of one is its index plus 1.
    known: Vec<ImageDescription>,
    outputs: Vec<(String, WpColorManagementOutputV1, ImageDescription)>,
    feedbacks: Vec<(WlSurface, WpColorManagementSurfaceFeedbackV1, ImageDescription)>,
}

impl ColorManagement {
    /// Returns the identity of an image description: the same number for equal ones.
    fn identity(&mut self, description: ImageDescription) -> u32 {
        let index = self.known.iter().position(|known| *known == description).unwrap_or_else(|| {
            self.known.push(description);
            self.known.len() - 1
        });
        index as u32 + 1
    }
}

/// The image description of a surface: double-buffered state, applied by `wl_surface.commit`.
#[derive(Debug, Default, Clone, Copy)]
pub struct SurfaceColor(Option<SurfaceImageDescription>);

impl Cacheable for SurfaceColor {
    fn commit(&mut self, _: &DisplayHandle) -> Self {
        *self
    }

    fn merge_into(self, into: &mut Self, _: &DisplayHandle) {
        *into = self;
    }
}

/// Whether a surface has a `wp_color_management_surface_v1`.
#[derive(Default)]
struct Taken(Cell<bool>);

/// The display of a `wp_color_management_output_v1`, by name.
pub struct OutputName(String);

impl State {
    /// Returns the visible surfaces with an image description other than sRGB.
    pub fn described_surfaces(&self, visible: &VisibleSurfaces) -> Vec<(Id, SurfaceImageDescription)> {
        let mut found = Vec::new();
        if !self.protocols.color.used {
            return found;
        }
        for placed in &visible.placed {
            with_surface_tree_downward(
                &placed.surface,
                (),
                |_, _, ()| TraversalAction::DoChildren(()),
                |surface, states, ()| {
                    if let Some(description) = states.cached_state.get::<SurfaceColor>().current().0 {
                        found.push((Id::from_wayland_resource(surface), description));
                    }
                },
                |_, _, ()| true,
            );
        }
        found
    }

    /// Updates an output's color conversion if its visible surfaces have other image descriptions
    /// than in the last frame.
    pub fn update_described_surfaces(&mut self, id: OutputId, visible: &VisibleSurfaces) {
        if !self.protocols.color.used {
            return;
        }
        let described = self.described_surfaces(visible);
        let Some(output) = self.outputs.get_mut(id) else { return };
        if output.describe_surfaces(described) {
            // A surface may have another image description and no new buffer.
            output.scanout.iter_mut().for_each(Scanout::reset_buffer_ages);
            self.update_color_conversion(id);
        }
    }

    /// Returns the image description of an output.
    fn output_description(&self, name: &str) -> ImageDescription {
        let Some(output) = self.outputs.named(name) else { return ImageDescription::SRGB };
        let target = ColorTarget {
            space: output.state().signal.color_space,
            native: output.state().monitor.primaries,
            ..ColorTarget::default()
        };
        ImageDescription::for_target(&target)
    }

    /// Returns the preferred image description of a surface: that of its output.
    fn preferred_description(&self, surface: &WlSurface) -> ImageDescription {
        let name = self.output_of(surface).and_then(|id| self.outputs.name(id));
        name.map_or(ImageDescription::SRGB, |name| self.output_description(name))
    }

    /// Creates the global once all renderers convert colors, and sends changed image descriptions.
    pub fn send_image_descriptions(&mut self) {
        let all_convert = self.backend.gpus().all(|gpu| gpu.renderer.converts());
        if all_convert && !self.protocols.color.has_global {
            self.protocols.color.has_global = true;
            self.display_handle.create_global::<Self, WpColorManagerV1, _>(1, Global);
        }
        if !self.protocols.color.used {
            return;
        }
        let mut color = std::mem::take(&mut self.protocols.color);
        for (name, output, sent) in &mut color.outputs {
            let now = self.output_description(name);
            if now != *sent {
                *sent = now;
                output.image_description_changed();
            }
        }
        let mut feedbacks = std::mem::take(&mut color.feedbacks);
        for (surface, feedback, sent) in &mut feedbacks {
            let now = self.preferred_description(surface);
            if now != *sent {
                *sent = now;
                feedback.preferred_changed(color.identity(now));
            }
        }
        color.feedbacks = feedbacks;
        self.protocols.color = color;
    }

    /// Initializes an image description object: `ready`, or `failed` with a cause.
    /// `has_information` says that clients may ask what it is.
    pub(super) fn init_description(
        &mut self,
        id: New<WpImageDescriptionV1>,
        description: Result<ImageDescription, (Cause, &str)>,
        has_information: bool,
        init: &mut DataInit<'_, Self>,
    ) {
        match description {
            Ok(description) => {
                let identity = self.protocols.color.identity(description);
                init.init(id, DescriptionData { description: Some(description), has_information })
                    .ready(identity);
            }
            Err((cause, reason)) => {
                let data = DescriptionData { description: None, has_information };
                init.init(id, data).failed(cause, reason.into());
            }
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

/// Transfer functions by the protocol's names (ITU-R BT.1886 is a power of 2.4 if black is 0).
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
                let description = state.output_description(&name);
                let object = init.init(id, OutputName(name.clone()));
                state.protocols.color.outputs.push((name, object, description));
            }
            Request::GetSurface { id, surface } => {
                let taken = with_states(&surface, |states| {
                    states.data_map.insert_if_missing(Taken::default);
                    states.data_map.get::<Taken>().is_some_and(|taken| taken.0.replace(true))
                });
                init.init(id, surface);
                if taken {
                    let error = wp_color_manager_v1::Error::SurfaceExists;
                    manager.post_error(error, "the surface has a color management object");
                }
            }
            Request::GetSurfaceFeedback { id, surface } => {
                let preferred = state.preferred_description(&surface);
                let feedback = init.init(id, surface.clone());
                state.protocols.color.feedbacks.push((surface, feedback, preferred));
            }
            Request::CreateParametricCreator { obj } => drop(init.init(obj, Creator::default())),
            // A protocol error disconnects the client. Its new object needs user data all the same.
            Request::CreateIccCreator { obj } => {
                init.init(obj, ());
                unsupported("icc_v2_v4");
            }
            Request::CreateWindowsScrgb { image_description } => {
                state.init_description(image_description, Err((Cause::Unsupported, "")), false, init);
                unsupported("windows_scrgb");
            }
            _ => {}
        }
    }
}

impl Dispatch<WpColorManagementOutputV1, OutputName> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &WpColorManagementOutputV1,
        request: wp_color_management_output_v1::Request,
        OutputName(name): &OutputName,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let wp_color_management_output_v1::Request::GetImageDescription { image_description } = request
        else {
            return;
        };
        let is_enabled = state.outputs.named(name).is_some_and(|output| output.is_enabled());
        let description = state.output_description(name);
        let answer = if is_enabled { Ok(description) } else { Err((Cause::NoOutput, "the display is gone")) };
        state.init_description(image_description, answer, true, init);
    }

    fn destroyed(state: &mut Self, _: ClientId, object: &WpColorManagementOutputV1, _: &OutputName) {
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
                let preferred = state.preferred_description(surface);
                state.init_description(image_description, Ok(preferred), true, init);
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

/// Sets the pending image description of a surface.
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
        let is_inert = !surface.is_alive();
        match request {
            Request::SetImageDescription { .. } | Request::UnsetImageDescription if is_inert => {
                object.post_error(Error::Inert, "the surface is gone");
            }
            Request::SetImageDescription { image_description, render_intent } => {
                let description =
                    image_description.data::<DescriptionData>().and_then(|data| data.description);
                let Some(description) = description else {
                    object.post_error(Error::ImageDescription, "the image description is not ready");
                    return;
                };
                let perceptual = match render_intent {
                    WEnum::Value(RenderIntent::Perceptual) => true,
                    WEnum::Value(RenderIntent::Relative) => false,
                    _ => {
                        object.post_error(Error::RenderIntent, "the rendering intent is not supported");
                        return;
                    }
                };
                let color = SurfaceImageDescription { description, perceptual };
                set(surface, SurfaceColor(Some(color).filter(|_| !description.is_srgb())));
            }
            Request::UnsetImageDescription => set(surface, SurfaceColor(None)),
            Request::Destroy if !is_inert => {
                set(surface, SurfaceColor(None));
                with_states(surface, |states| {
                    states.data_map.get::<Taken>().inspect(|taken| taken.0.set(false));
                });
            }
            _ => {}
        }
    }
}

impl Dispatch<WpImageDescriptionV1, DescriptionData> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        object: &WpImageDescriptionV1,
        request: wp_image_description_v1::Request,
        data: &DescriptionData,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use wp_image_description_v1::{Error, Request};
        let Request::GetInformation { information } = request else { return };
        let information = init.init(information, ());
        match data.description {
            None => object.post_error(Error::NotReady, "the image description failed"),
            Some(_) if !data.has_information => {
                object.post_error(Error::NoInformation, "the client made the image description itself")
            }
            // Not in this request: the last event destroys the object, which wayland-server has not
            // finished creating yet.
            Some(description) => {
                let now = state.now();
                let description = Box::new(description);
                state.timers.at(now, Deadline::SendImageDescription { information, description });
            }
        }
    }
}
