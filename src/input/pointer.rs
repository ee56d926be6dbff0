//! The pointer: its location and image.

use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::input::pointer::{CursorIcon, CursorImageAttributes, CursorImageStatus};
use smithay::reexports::wayland_server::protocol::{wl_shm, wl_surface::WlSurface};
use smithay::utils::{IsAlive, Logical, Point, Size, Transform};
use smithay::wayland::compositor::{get_children, with_states};
use smithay::wayland::shm::with_buffer_contents;

use super::cursor_visibility::{CursorEffects, CursorEvent, CursorVisibility};
use crate::config;
use crate::output::outputs::Outputs;
use crate::output::{Output, OutputId};
use crate::render::cursor::{CursorBuffer, Theme};
use crate::render::scene::Cursor;
use crate::render::visible::PlacedSurface;

/// The seat's pointer as the compositor draws it.
pub struct PointerState {
    /// In the layout.
    location: Point<f64, Logical>,
    /// Time of the last motion, on the monotonic clock.
    moved_at: Duration,
    /// There is a pointing device. Without one, no cursor is shown.
    present: bool,
    /// It has been put on an output.
    placed: bool,
    visibility: CursorVisibility,
    /// The cursor that a client set.
    status: CursorImageStatus,
    tool: Option<ToolCursor>,
    /// The icon of a drag and drop, next to the cursor.
    drag_icon: Option<WlSurface>,
    theme: Theme,
    /// The buffer made of a client's cursor surface for an output's scale.
    client_buffer: Option<(WlSurface, f64, Rc<CursorBuffer>)>,
    /// The serial of the latest buffer of a client's cursor surface.
    serial: u64,
}

/// The cursor of a tool of a graphics tablet in proximity. It is shown in place of the pointer's.
#[derive(Debug, Clone)]
pub struct ToolCursor {
    pub id: u64,
    /// In the layout.
    pub location: Point<f64, Logical>,
    /// `None` for a tool that moves the pointer, and shows its cursor.
    pub status: Option<CursorImageStatus>,
}

/// What the pointer shows.
struct CursorImage {
    /// `None` for a client's surface that only a renderer can draw.
    buffer: Option<Rc<CursorBuffer>>,
    surface: Option<WlSurface>,
    /// From the top left corner, in framebuffer pixels.
    hotspot: (f64, f64),
}

/// Set in the serials of buffers of clients' surfaces, so that they differ from the theme's.
const CLIENT_SERIAL: u64 = 1 << 63;

/// The largest width and height of a buffer for a cursor plane, in pixels. Larger surfaces are
/// drawn.
const MAX_CURSOR_SIZE: i32 = 512;

impl PointerState {
    /// Makes a pointer without a device.
    pub fn new(config: &config::Cursor) -> Self {
        Self {
            location: Point::default(),
            moved_at: Duration::ZERO,
            present: false,
            placed: false,
            visibility: CursorVisibility::new(config),
            status: CursorImageStatus::default_named(),
            tool: None,
            drag_icon: None,
            theme: Theme::new(&config.theme, config.size),
            client_buffer: None,
            serial: 0,
        }
    }

    /// Returns where it is in the layout.
    pub fn location(&self) -> Point<f64, Logical> {
        self.location
    }

    /// Returns the cursor of a tool of a tablet that is in proximity.
    pub fn tool(&self) -> Option<&ToolCursor> {
        self.tool.as_ref()
    }

    /// Shows the cursor of a tool of a tablet, in place of the pointer's.
    pub fn show_tool(&mut self, tool: ToolCursor, now: Duration) {
        self.moved_at = now;
        self.tool = Some(tool);
    }

    /// No tool is in proximity.
    pub fn hide_tool(&mut self) {
        self.tool = None;
    }

    /// Returns the output under the tool whose cursor is shown.
    pub fn tool_output(&self, outputs: &Outputs) -> Option<OutputId> {
        let tool = self.tool.as_ref().filter(|_| self.visibility.is_allowed())?;
        outputs.at(tool.location).map(|output| output.id)
    }

    /// Returns the cursor that is shown, and where.
    fn shown(&self) -> Option<(Point<f64, Logical>, &CursorImageStatus)> {
        match &self.tool {
            Some(tool) => {
                let status = tool.status.as_ref().unwrap_or(&self.status);
                self.visibility.is_allowed().then_some((tool.location, status))
            }
            None => {
                let is_shown = self.present && self.visibility.is_visible();
                is_shown.then_some((self.location, &self.status))
            }
        }
    }

    /// Returns the time of the last motion, on the monotonic clock.
    pub fn moved_at(&self) -> Duration {
        self.moved_at
    }

    /// Returns whether there is a pointing device.
    pub fn is_present(&self) -> bool {
        self.present
    }

    /// Notes how the pointer, or a screen, is used.
    pub fn on_cursor_event(&mut self, event: CursorEvent, now: Duration) -> CursorEffects {
        self.visibility.on(event, now)
    }

    /// Returns whether something is drawn at its location.
    pub fn is_drawn(&self) -> bool {
        let shows_cursor = self.tool.is_none() && self.present && self.visibility.is_visible();
        (shows_cursor && self.status != CursorImageStatus::Hidden) || self.drag_icon.is_some()
    }

    /// Returns the output under it.
    pub fn output(&self, outputs: &Outputs) -> Option<OutputId> {
        outputs.at(self.location).map(|output| output.id)
    }

    /// A device moved it.
    pub fn moved(&mut self, to: Point<f64, Logical>, time: Duration) {
        (self.location, self.moved_at) = (to, time);
        self.placed = true;
    }

    /// Outputs have changed: puts it on an enabled one.
    pub fn keep_on_outputs(&mut self, outputs: &Outputs) {
        match self.placed {
            true => self.location = outputs.move_pointer(self.location, self.location),
            false if self.present => self.appear(outputs),
            false => {}
        }
    }

    /// The last pointing device is gone. The position stays, for when there is one again.
    pub(super) fn disappear(&mut self) {
        self.present = false;
        // Clients set it again when the pointer enters.
        self.status = CursorImageStatus::default_named();
    }

    /// Shows the cursor that a client sets.
    pub fn set_status(&mut self, status: CursorImageStatus) {
        self.status = status;
    }

    /// Shows the icon of a drag and drop next to the cursor, or none.
    pub fn set_drag_icon(&mut self, icon: Option<WlSurface>) {
        self.drag_icon = icon;
    }

    /// There is a pointing device: puts the pointer where it was, or the first time in the middle
    /// of the leftmost output.
    pub fn appear(&mut self, outputs: &Outputs) {
        self.present = true;
        if self.placed {
            self.keep_on_outputs(outputs);
        } else if let Some(output) = outputs.in_layout().first() {
            self.placed = true;
            let area = output.geometry();
            self.location = area.loc.to_f64() + area.size.to_f64().to_point().downscale(2.0);
        }
    }

    /// Applies a changed configuration.
    pub fn configure(&mut self, config: &config::Cursor) -> CursorEffects {
        self.theme = Theme::new(&config.theme, config.size);
        self.visibility.configure(config)
    }

    /// Returns the cursor surface that is shown, and where.
    fn surface(&self) -> Option<(Point<f64, Logical>, &WlSurface)> {
        match self.shown()? {
            (location, CursorImageStatus::Surface(surface)) => Some((location, surface)),
            _ => None,
        }
    }

    /// Drops the buffer of a surface that its client committed.
    pub fn invalidate(&mut self, surface: &WlSurface) {
        if self.client_buffer.as_ref().is_some_and(|(known, _, _)| known == surface) {
            self.client_buffer = None;
        }
    }

    /// Returns the output that shows a surface as the cursor or as the icon of a drag and drop.
    pub fn output_of(&self, surface: &WlSurface, outputs: &Outputs) -> Option<OutputId> {
        let cursor = self.surface().filter(|(_, cursor)| *cursor == surface).map(|(location, _)| location);
        let icon = (self.drag_icon.as_ref() == Some(surface)).then_some(self.location);
        outputs.at(cursor.or(icon)?).map(|output| output.id)
    }

    /// Returns the icon of a drag and drop, if the pointer is on this output.
    pub fn drag_icon_on(&self, output: &Output, outputs: &Outputs) -> Option<PlacedSurface> {
        let icon = self.drag_icon.as_ref().filter(|icon| icon.alive())?;
        let is_here = outputs.at(self.location).is_some_and(|under| under.id == output.id);
        let location = output.local(self.location).to_i32_round();
        is_here.then(|| PlacedSurface { surface: icon.clone(), location })
    }

    /// Returns the cursor that this output shows: that of a tool of a tablet in proximity, or else
    /// the pointer's, if there is a pointing device and the cursor is not hidden. `None` if the
    /// client hides it.
    pub fn cursor_on(&mut self, id: OutputId, outputs: &Outputs) -> Option<Cursor> {
        let (location, status) = self.shown()?;
        let output = outputs.at(location).filter(|under| under.id == id)?;
        let location = output.local(location).to_physical(output.state().scale);
        let CursorImage { buffer, surface, hotspot } = self.image(status.clone(), output.state().scale)?;
        let position = ((location.x - hotspot.0).floor() as i32, (location.y - hotspot.1).floor() as i32);
        let hotspot = (hotspot.0.round() as i32, hotspot.1.round() as i32);
        Some(Cursor { buffer, surface, position, hotspot })
    }

    /// Returns the cursor for an output's scale. `None` if the client hides it.
    fn image(&mut self, status: CursorImageStatus, scale: f64) -> Option<CursorImage> {
        match status {
            CursorImageStatus::Hidden => None,
            CursorImageStatus::Named(icon) => Some(self.themed(icon, scale)),
            CursorImageStatus::Surface(surface) if !surface.alive() => {
                Some(self.themed(CursorIcon::Default, scale))
            }
            CursorImageStatus::Surface(surface) => {
                let hotspot = with_states(&surface, |states| {
                    let attributes = states.data_map.get::<Mutex<CursorImageAttributes>>();
                    let attributes =
                        attributes.map(|data| data.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
                    attributes.map(|attributes| attributes.hotspot).unwrap_or_default()
                });
                let hotspot = hotspot.to_f64().to_physical(scale);
                let buffer = self.client_buffer_of(&surface, scale);
                let surface = buffer.is_none().then_some(surface);
                Some(CursorImage { buffer, surface, hotspot: (hotspot.x, hotspot.y) })
            }
        }
    }

    fn themed(&mut self, icon: CursorIcon, scale: f64) -> CursorImage {
        let buffer = self.theme.buffer(icon, scale);
        let hotspot = (f64::from(buffer.hotspot.0), f64::from(buffer.hotspot.1));
        CursorImage { buffer: Some(buffer), surface: None, hotspot }
    }

    fn client_buffer_of(&mut self, surface: &WlSurface, scale: f64) -> Option<Rc<CursorBuffer>> {
        if let Some((known, known_scale, buffer)) = &self.client_buffer {
            if known == surface && *known_scale == scale {
                return Some(buffer.clone());
            }
        }
        self.serial += 1;
        let buffer = Rc::new(copy_shm(surface, scale, self.serial | CLIENT_SERIAL)?);
        self.client_buffer = Some((surface.clone(), scale, buffer.clone()));
        Some(buffer)
    }
}

/// Returns where a device that reports absolute positions, such as the tablet of a virtual machine,
/// moves the pointer to: it covers the whole layout. `position` returns the device's position in a
/// space of a size.
pub fn absolute_location(
    from: Point<f64, Logical>,
    outputs: &Outputs,
    position: impl Fn(Size<i32, Logical>) -> Point<f64, Logical>,
) -> Point<f64, Logical> {
    let areas = outputs.in_layout().into_iter().map(Output::geometry);
    let Some(layout) = areas.reduce(|all, area| all.merge(area)) else { return from };
    outputs.move_pointer(from, position(layout.size) + layout.loc.to_f64())
}

/// Copies a surface's shm buffer, if its pixels are the output's pixels.
fn copy_shm(surface: &WlSurface, scale: f64, serial: u64) -> Option<CursorBuffer> {
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
            if !(1..=MAX_CURSOR_SIZE).contains(&width)
                || !(1..=MAX_CURSOR_SIZE).contains(&height)
                || data.stride < width * 4
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
                // SAFETY: the row is within the pool's `length` bytes. If the client shrank the
                // file meanwhile, Smithay's SIGBUS handler maps zeros there.
                let pixels = unsafe { std::slice::from_raw_parts(pointer.add(start), width as usize * 4) };
                argb.extend_from_slice(pixels);
            }
            if opaque {
                argb.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
            }
            Some(CursorBuffer::new(serial, (width as u32, height as u32), (0, 0), argb))
        })
        .ok()?
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use geom_display::lifecycle::Lifecycle;
    use geom_display::plan::LogicalRect;

    use super::*;

    /// Outputs of 100 by 100 next to each other.
    fn outputs(enabled: [bool; 3]) -> Outputs {
        let mut outputs = Outputs::default();
        for (index, (name, enabled)) in ["DP-1", "DP-2", "DP-3"].into_iter().zip(enabled).enumerate() {
            let output = outputs.entry(name);
            output.state_mut().logical = LogicalRect { x: 100 * index as i32, y: 0, width: 100, height: 100 };
            output.set_lifecycle(if enabled { Lifecycle::Enabled } else { Lifecycle::Disconnected });
        }
        outputs
    }

    #[test]
    fn pointer_appears_in_the_middle_of_the_leftmost_output_and_then_where_it_was() {
        let mut pointer = PointerState::new(&config::Cursor::default());
        pointer.appear(&outputs([false, true, true]));
        assert!(pointer.present);
        assert_eq!(pointer.location, (150.0, 50.0).into());
        // Without an output it stays where it is.
        pointer.appear(&outputs([false; 3]));
        assert_eq!(pointer.location, (150.0, 50.0).into());
        pointer.moved((210.0, 20.0).into(), Duration::ZERO);
        pointer.disappear();
        pointer.appear(&outputs([true; 3]));
        assert_eq!(pointer.location, (210.0, 20.0).into(), "its display is enabled");
        pointer.disappear();
        pointer.appear(&outputs([true, true, false]));
        assert_eq!(pointer.location, (199.0, 20.0).into(), "the nearest enabled one");
    }

    #[test]
    fn pointer_that_came_before_the_first_output_is_placed_with_it() {
        let mut pointer = PointerState::new(&config::Cursor::default());
        pointer.appear(&outputs([false; 3]));
        pointer.keep_on_outputs(&outputs([true, false, false]));
        assert_eq!(pointer.location, (50.0, 50.0).into());
    }

    #[test]
    fn cursor_is_on_the_output_under_the_pointer_only() {
        let outputs = outputs([true; 3]);
        let id = |name| outputs.id(name).expect("an output");
        let mut pointer = PointerState::new(&config::Cursor::default());
        pointer.location = (110.0, 20.0).into();
        assert!(pointer.cursor_on(id("DP-2"), &outputs).is_none(), "without a device");
        pointer.present = true;
        assert!(pointer.cursor_on(id("DP-2"), &outputs).is_none() && !pointer.is_drawn(), "never used");
        pointer.on_cursor_event(CursorEvent::Used, Duration::ZERO);
        assert!(pointer.is_drawn());
        assert!(pointer.cursor_on(id("DP-1"), &outputs).is_none());
        let (x, y) = pointer.cursor_on(id("DP-2"), &outputs).expect("a cursor").position;
        assert!(x <= 10 && y <= 20, "{x}, {y}");
        pointer.status = CursorImageStatus::Hidden;
        assert!(pointer.cursor_on(id("DP-2"), &outputs).is_none());
    }

    #[test]
    fn absolute_positions_cover_the_layout_and_land_on_an_output() {
        let moved = |enabled, x: f64| {
            let position = |size: Size<i32, Logical>| (x * f64::from(size.w), 0.5 * f64::from(size.h)).into();
            absolute_location((0.0, 0.0).into(), &outputs(enabled), position)
        };
        assert_eq!(moved([true; 3], 0.5), (150.0, 50.0).into());
        assert_eq!(moved([true, true, false], 0.5), (100.0, 50.0).into());
        // On the disconnected output between them: on the next one behind it.
        assert_eq!(moved([true, false, true], 0.5), (200.0, 50.0).into());
        // The leftmost one is disconnected: the device's left edge is that of the next.
        assert_eq!(moved([false, true, true], 0.0), (100.0, 50.0).into());
    }

    /// The mouse of a KVM switch over IP, with a monitor left of and above the first one.
    #[test]
    fn absolute_positions_reach_outputs_left_of_and_above_the_origin() {
        let mut outputs = outputs([true, true, false]);
        let left = outputs.named_mut("DP-2").expect("an output");
        left.state_mut().logical = LogicalRect { x: -200, y: -50, width: 200, height: 100 };
        for (fraction, expected) in [(0.0, (-200.0, -50.0)), (0.5, (-50.0, 25.0)), (0.99, (97.0, 98.5))] {
            let position = |size: Size<i32, Logical>| size.to_f64().to_point().upscale(fraction);
            assert_eq!(absolute_location((50.0, 50.0).into(), &outputs, position), expected.into());
        }
    }
}
