//! The pointer's place and picture.

use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::input::pointer::{CursorIcon, CursorImageAttributes, CursorImageStatus};
use smithay::reexports::wayland_server::protocol::{wl_shm, wl_surface::WlSurface};
use smithay::utils::{IsAlive, Logical, Point, Transform};
use smithay::wayland::compositor::{get_children, with_states};
use smithay::wayland::shm::with_buffer_contents;

use crate::render::cursor::{Picture, Theme};

/// The seat's pointer as the compositor draws it.
pub struct PointerState {
    /// In the layout.
    pub location: Point<f64, Logical>,
    /// When it last moved, on the monotonic clock.
    pub moved_at: Duration,
    /// There is a pointing device; without one no cursor is shown.
    pub present: bool,
    pub status: CursorImageStatus,
    pub drag_icon: Option<WlSurface>,
    theme: Theme,
    /// The picture made of a client's cursor surface at a scale.
    client: Option<(WlSurface, f64, Rc<Picture>)>,
    serial: u64,
}

/// What the pointer shows.
pub struct CursorImage {
    /// None for a client's surface that only a renderer can show.
    pub picture: Option<Rc<Picture>>,
    pub surface: Option<WlSurface>,
    /// From the top left corner, in pixels.
    pub hotspot: (f64, f64),
}

/// Serials of clients' pictures are told from the theme's by this bit.
const CLIENT: u64 = 1 << 63;
/// Larger ones go to no cursor plane and are drawn.
const LARGEST: i32 = 512;

impl PointerState {
    pub fn new(theme: &str, size: u8) -> Self {
        Self {
            location: Point::default(),
            moved_at: Duration::ZERO,
            present: false,
            status: CursorImageStatus::default_named(),
            drag_icon: None,
            theme: Theme::new(theme, size),
            client: None,
            serial: 0,
        }
    }

    pub fn set_theme(&mut self, theme: &str, size: u8) {
        self.theme = Theme::new(theme, size);
    }

    /// The client's cursor surface, where one is set.
    pub fn surface(&self) -> Option<&WlSurface> {
        match &self.status {
            CursorImageStatus::Surface(surface) => Some(surface),
            _ => None,
        }
    }

    /// A commit of this surface: its picture is made anew.
    pub fn committed(&mut self, surface: &WlSurface) {
        if self.client.as_ref().is_some_and(|(known, _, _)| known == surface) {
            self.client = None;
        }
    }

    /// The cursor for a display's scale. None where the client hides it.
    pub fn image(&mut self, scale: f64) -> Option<CursorImage> {
        if self.surface().is_some_and(|surface| !surface.alive()) {
            self.status = CursorImageStatus::default_named();
        }
        match self.status.clone() {
            CursorImageStatus::Hidden => None,
            CursorImageStatus::Named(icon) => Some(self.themed(icon, scale)),
            CursorImageStatus::Surface(surface) => {
                let hotspot = with_states(&surface, |states| {
                    let attributes = states.data_map.get::<Mutex<CursorImageAttributes>>();
                    let attributes =
                        attributes.map(|data| data.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
                    attributes.map(|attributes| attributes.hotspot).unwrap_or_default()
                });
                let hotspot = hotspot.to_f64().to_physical(scale);
                let picture = self.client_picture(&surface, scale);
                let surface = picture.is_none().then_some(surface);
                Some(CursorImage { picture, surface, hotspot: (hotspot.x, hotspot.y) })
            }
        }
    }

    fn themed(&mut self, icon: CursorIcon, scale: f64) -> CursorImage {
        let picture = self.theme.picture(icon, scale);
        let hotspot = (f64::from(picture.hotspot.0), f64::from(picture.hotspot.1));
        CursorImage { picture: Some(picture), surface: None, hotspot }
    }

    fn client_picture(&mut self, surface: &WlSurface, scale: f64) -> Option<Rc<Picture>> {
        if let Some((known, known_scale, picture)) = &self.client {
            if known == surface && *known_scale == scale {
                return Some(picture.clone());
            }
        }
        self.serial += 1;
        let picture = Rc::new(copy_shm(surface, scale, self.serial | CLIENT)?);
        self.client = Some((surface.clone(), scale, picture.clone()));
        Some(picture)
    }
}

/// A surface's shm buffer as a picture, where its pixels are the display's pixels.
fn copy_shm(surface: &WlSurface, scale: f64, serial: u64) -> Option<Picture> {
    if !get_children(surface).is_empty() {
        return None;
    }
    with_renderer_surface_state(surface, |state| {
        let view = state.view()?;
        let same_scale = f64::from(state.buffer_scale()) == scale;
        let plain = state.buffer_transform() == Transform::Normal
            && view.src.size == view.dst.to_f64()
            && view.src.loc == Point::default();
        if !same_scale || !plain {
            return None;
        }
        with_buffer_contents(state.buffer()?, |pointer, length, data| {
            let (width, height) = (data.width, data.height);
            if !(1..=LARGEST).contains(&width) || !(1..=LARGEST).contains(&height) || data.stride < width * 4
            {
                return None;
            }
            let opaque = match data.format {
                wl_shm::Format::Argb8888 => false,
                wl_shm::Format::Xrgb8888 => true,
                _ => return None,
            };
            let mut argb = Vec::with_capacity(width as usize * height as usize * 4);
            for row in 0..height {
                let start = usize::try_from(data.offset).ok()? + row as usize * data.stride as usize;
                if start + width as usize * 4 > length {
                    return None;
                }
                // SAFETY: inside the pool's `length` bytes; smithay catches a pool that its client
                // shrank meanwhile.
                let pixels = unsafe { std::slice::from_raw_parts(pointer.add(start), width as usize * 4) };
                argb.extend_from_slice(pixels);
            }
            if opaque {
                argb.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
            }
            Some(Picture::new(serial, (width as u32, height as u32), (0, 0), argb))
        })
        .ok()?
    })
    .flatten()
}
