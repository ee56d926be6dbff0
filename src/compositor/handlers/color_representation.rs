//! color-representation: clients set how the values in their buffers become red, green and blue.
//!
//! Source: color-representation-v1.xml. The compositor supports what all renderers draw: RGB,
//! pre-multiplied by alpha. YCbCr formats that a GPU imports are converted by its driver, which
//! takes no coefficients; so none are supported for these.

use std::cell::{Cell, RefCell};

use smithay::backend::allocator::{Buffer as _, Fourcc};
use smithay::reexports::wayland_protocols::wp::color_representation::v1::server::wp_color_representation_manager_v1::{
    self, WpColorRepresentationManagerV1,
};
use smithay::reexports::wayland_protocols::wp::color_representation::v1::server::wp_color_representation_surface_v1::{
    self, AlphaMode, Coefficients, Error, Range, WpColorRepresentationSurfaceV1,
};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource, WEnum, Weak,
};
use smithay::wayland::compositor::{
    add_pre_commit_hook, with_states, BufferAssignment, Cacheable, SurfaceAttributes,
};
use smithay::wayland::dmabuf::get_dmabuf;

use crate::compositor::State;

/// The user data of the global.
pub struct Global;

/// The client has set RGB coefficients: double-buffered state, applied by `wl_surface.commit`.
#[derive(Debug, Default, Clone, Copy)]
struct Rgb(bool);

impl Cacheable for Rgb {
    fn commit(&mut self, _: &DisplayHandle) -> Self {
        *self
    }

    fn merge_into(self, into: &mut Self, _: &DisplayHandle) {
        *into = self;
    }
}

/// A surface's object, if it has one, and whether its buffer is YCbCr.
#[derive(Default)]
struct Representation {
    object: RefCell<Option<Weak<WpColorRepresentationSurfaceV1>>>,
    has_ycbcr: Cell<bool>,
    has_hook: Cell<bool>,
}

/// Returns whether a buffer has a YCbCr format, of those that GPUs import (drm_fourcc.h).
fn is_ycbcr(buffer: &WlBuffer) -> bool {
    let code = get_dmabuf(buffer).ok().map(|dmabuf| dmabuf.format().code);
    matches!(
        code,
        Some(
            Fourcc::Nv12
                | Fourcc::Nv21
                | Fourcc::Nv16
                | Fourcc::Nv61
                | Fourcc::Nv24
                | Fourcc::Nv42
                | Fourcc::Nv15
                | Fourcc::P010
                | Fourcc::P012
                | Fourcc::P016
                | Fourcc::P210
                | Fourcc::Yuv410
                | Fourcc::Yuv411
                | Fourcc::Yuv420
                | Fourcc::Yuv422
                | Fourcc::Yuv444
                | Fourcc::Yvu420
                | Fourcc::Yvu422
                | Fourcc::Yvu444
                | Fourcc::Yuyv
                | Fourcc::Yvyu
                | Fourcc::Uyvy
                | Fourcc::Vyuy
                | Fourcc::Ayuv
                | Fourcc::Xyuv8888
                | Fourcc::Y210
                | Fourcc::Y212
                | Fourcc::Y216
                | Fourcc::Y410
                | Fourcc::Y412
                | Fourcc::Y416
        )
    )
}

/// Checks before each commit that the buffer has the format that the client has set.
fn check(surface: &WlSurface) {
    let wrong = with_states(surface, |states| {
        let representation = states.data_map.get::<Representation>()?;
        match &states.cached_state.get::<SurfaceAttributes>().pending().buffer {
            Some(BufferAssignment::NewBuffer(buffer)) => representation.has_ycbcr.set(is_ycbcr(buffer)),
            Some(BufferAssignment::Removed) => representation.has_ycbcr.set(false),
            None => {}
        }
        let rgb = states.cached_state.get::<Rgb>().pending().0;
        let object = representation.object.borrow().clone();
        object.filter(|_| rgb && representation.has_ycbcr.get())?.upgrade().ok()
    });
    if let Some(object) = wrong {
        object.post_error(Error::PixelFormat, "the buffer has a YCbCr format");
    }
}

impl GlobalDispatch<WpColorRepresentationManagerV1, Global> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<WpColorRepresentationManagerV1>,
        _: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        let manager = init.init(manager, ());
        manager.supported_alpha_mode(AlphaMode::PremultipliedElectrical);
        manager.supported_coefficients_and_ranges(Coefficients::Identity, Range::Full);
        manager.done();
    }
}

impl Dispatch<WpColorRepresentationManagerV1, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        manager: &WpColorRepresentationManagerV1,
        request: wp_color_representation_manager_v1::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let wp_color_representation_manager_v1::Request::GetSurface { id, surface } = request else { return };
        let object = init.init(id, surface.clone());
        let (taken, has_hook) = with_states(&surface, |states| {
            states.data_map.insert_if_missing(Representation::default);
            let Some(representation) = states.data_map.get::<Representation>() else { return (false, true) };
            let earlier = representation.object.replace(Some(object.downgrade()));
            let taken = earlier.is_some_and(|earlier| earlier.is_alive());
            (taken, representation.has_hook.replace(true))
        });
        if taken {
            let error = wp_color_representation_manager_v1::Error::SurfaceExists;
            manager.post_error(error, "the surface has a color representation object");
        }
        if !has_hook {
            add_pre_commit_hook::<Self, _>(&surface, |_, _, surface| check(surface));
        }
    }
}

impl Dispatch<WpColorRepresentationSurfaceV1, WlSurface> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        object: &WpColorRepresentationSurfaceV1,
        request: wp_color_representation_surface_v1::Request,
        surface: &WlSurface,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        use wp_color_representation_surface_v1::Request;
        let is_inert = !surface.is_alive();
        let set = |rgb| with_states(surface, |states| states.cached_state.get::<Rgb>().pending().0 = rgb);
        match request {
            Request::Destroy if !is_inert => set(false),
            Request::Destroy => {}
            _ if is_inert => object.post_error(Error::Inert, "the surface is gone"),
            // The default.
            Request::SetAlphaMode { alpha_mode: WEnum::Value(AlphaMode::PremultipliedElectrical) } => {}
            Request::SetAlphaMode { .. } => {
                object.post_error(Error::AlphaMode, "the alpha mode is not supported");
            }
            Request::SetCoefficientsAndRange { coefficients, range } => {
                let wanted = (coefficients, range);
                if wanted == (WEnum::Value(Coefficients::Identity), WEnum::Value(Range::Full)) {
                    set(true);
                } else {
                    object.post_error(Error::Coefficients, "the coefficients are not supported");
                }
            }
            // A hint for 4:2:0 formats only; all known values are allowed.
            Request::SetChromaLocation { chroma_location: WEnum::Unknown(_) } => {
                object.post_error(Error::ChromaLocation, "unknown chroma location");
            }
            _ => {}
        }
    }
}
