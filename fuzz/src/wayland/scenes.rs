//! Sequences of requests and input that single random requests do not find: what a person does
//! with two programs, and requests that need each other's answers. A wrong argument, or another
//! operation in between, comes in rare cases.

use super::client::Object;
use super::{requests, send, Run};
use crate::Violation;

use geom_compositor::internals::fuzzing::Action;

/// wl_data_device_manager.dnd_action: copy, move and ask.
const ALL_ACTIONS: u32 = 7;
/// BTN_LEFT (linux/input-event-codes.h)
const LEFT: u32 = 0x110;
/// ENTER's place in xkb: its evdev code and 8.
const ENTER: u32 = 36;

/// A point where a client gets input.
type Target = (usize, (f64, f64));

impl Run<'_> {
    pub(super) fn scene(&mut self) -> Result<(), Violation> {
        match self.bytes.below(16) {
            0..3 => self.drag()?,
            3 => self.touch_drag()?,
            4 => self.selection("wl_data_device_manager", "get_data_device", "create_data_source")?,
            5 => {
                let manager = "zwp_primary_selection_device_manager_v1";
                self.selection(manager, "get_device", "create_source")?;
            }
            6..8 => self.popup_grab()?,
            8 => self.layer_popup()?,
            9..11 => self.output_configuration()?,
            11..13 => self.color()?,
            13 => self.cursor()?,
            14 => match self.bytes.one_in(2) {
                true => self.dmabuf()?,
                false => self.subsurfaces()?,
            },
            _ => self.sandbox()?,
        }
        self.settle()
    }

    /// Runs another operation in rare cases.
    fn meddle(&mut self) -> Result<(), Violation> {
        match self.bytes.one_in(10) {
            true => self.operation(),
            false => Ok(()),
        }
    }

    /// Two iterations: requests are read, and events that follow are sent.
    fn exchange(&mut self) -> Result<(), Violation> {
        self.iterate(std::time::Duration::ZERO)?;
        self.iterate(std::time::Duration::ZERO)
    }

    /// What all clients sent so far is accepted, unless one has an error.
    pub(super) fn settle(&mut self) -> Result<(), Violation> {
        for client in &mut self.clients {
            client.sync();
        }
        self.exchange()
    }

    /// Sends a request of an object with these numbers and ids, then generated ones.
    pub(super) fn call(
        &mut self,
        index: usize,
        object: Object,
        request: &str,
        wanted: &[u32],
    ) -> Option<Object> {
        let client = self.clients.get_mut(index)?;
        let opcode = object.interface.requests.iter().position(|desc| desc.name == request)?;
        let request = requests::with(client, &mut self.bytes, object, opcode, wanted)?;
        send(client, &request);
        request.created
    }

    /// Returns the newest object of an interface.
    pub(super) fn last(&self, index: usize, interface: &str) -> Option<Object> {
        self.clients.get(index)?.of(interface).last().copied()
    }

    /// Returns the newest object of an interface, or one that a request creates.
    fn need(&mut self, index: usize, interface: &str, factory: &str, request: &str) -> Option<Object> {
        if let Some(found) = self.last(index, interface) {
            return Some(found);
        }
        let factory = self.last(index, factory)?;
        self.call(index, factory, request, &[])
    }

    /// Returns a point where a client gets input, of another client than `but` if there is one.
    fn target(&mut self, but: Option<usize>) -> Option<Target> {
        let points = self.host.points();
        let of_clients: Vec<Target> = points
            .into_iter()
            .filter_map(|(id, point)| Some((self.clients.iter().position(|client| client.id == id)?, point)))
            .collect();
        let others: Vec<Target> =
            of_clients.iter().filter(|(index, _)| Some(*index) != but).copied().collect();
        self.bytes.pick(if others.is_empty() { &of_clients } else { &others })
    }

    /// Maps a window of the client if it has none that gets input.
    fn shown(&mut self, but: Option<usize>) -> Result<Option<Target>, Violation> {
        if let Some((index, point)) = self.target(but).filter(|(index, _)| Some(*index) != but) {
            return Ok(Some((index, point)));
        }
        let index = self.client()?;
        if let Some(role) = self.bytes.pick(&["xdg_toplevel", "zwlr_layer_surface_v1"]) {
            self.map(index, role)?;
        }
        self.exchange()?;
        Ok(self.target(but))
    }

    fn press(&mut self, (index, (x, y)): Target) -> Result<Option<u32>, Violation> {
        self.need(index, "wl_pointer", "wl_seat", "get_pointer");
        self.need(index, "wl_keyboard", "wl_seat", "get_keyboard");
        self.need(index, "wl_touch", "wl_seat", "get_touch");
        self.exchange()?;
        self.host.input(Action::Move { x, y });
        self.host.input(Action::Button { button: LEFT, pressed: true });
        self.exchange()?;
        Ok(self.clients.get(index).and_then(|client| client.presses.last().copied()))
    }

    fn release(&mut self) {
        self.host.input(Action::Button { button: LEFT, pressed: false });
    }

    /// Creates a source of data with a type, and maybe actions.
    fn source(&mut self, index: usize, manager: &str, create: &str) -> Option<Object> {
        let manager = self.last(index, manager)?;
        let source = self.call(index, manager, create, &[])?;
        for _ in 0..=self.bytes.below(2) {
            self.call(index, source, "offer", &[]);
        }
        if !self.bytes.one_in(8) {
            self.call(index, source, "set_actions", &[ALL_ACTIONS]);
        }
        Some(source)
    }

    /// Asks for a drag from a press in a window. Returns the client.
    fn start_drag(&mut self, from: Target, serial: u32) -> Option<usize> {
        let index = from.0;
        let device = self.need(index, "wl_data_device", "wl_data_device_manager", "get_data_device")?;
        let source = match self.bytes.one_in(8) {
            true => 0,
            false => self.source(index, "wl_data_device_manager", "create_data_source")?.id,
        };
        let origin = self.last(index, "wl_surface")?.id;
        let icon = match self.bytes.one_in(3) {
            true => {
                let compositor = self.last(index, "wl_compositor")?;
                self.call(index, compositor, "create_surface", &[])?.id
            }
            false => 0,
        };
        self.call(index, device, "start_drag", &[source, origin, icon, serial]);
        Some(index)
    }

    /// The client below the pointer or finger answers the offer that it gets.
    fn answer_offer(&mut self, index: usize) -> Result<(), Violation> {
        let Some(offer) = self.last(index, "wl_data_offer") else { return Ok(()) };
        let serial = self.clients.get(index).and_then(|client| client.serials.last().copied()).unwrap_or(0);
        self.call(index, offer, "accept", &[serial]);
        self.call(index, offer, "receive", &[]);
        let preferred = 1 << self.bytes.below(3);
        self.call(index, offer, "set_actions", &[ALL_ACTIONS, preferred]);
        self.exchange()
    }

    fn end_offer(&mut self, index: usize) -> Result<(), Violation> {
        self.exchange()?;
        let Some(offer) = self.last(index, "wl_data_offer") else { return Ok(()) };
        self.call(index, offer, "receive", &[]);
        if !self.bytes.one_in(4) {
            self.call(index, offer, "finish", &[]);
        }
        if !self.bytes.one_in(3) {
            self.call(index, offer, "destroy", &[]);
        }
        Ok(())
    }

    fn drag(&mut self) -> Result<(), Violation> {
        let Some(from) = self.shown(None)? else { return Ok(()) };
        let Some(to) = self.shown(Some(from.0))? else { return Ok(()) };
        self.need(to.0, "wl_data_device", "wl_data_device_manager", "get_data_device");
        self.release();
        let Some(serial) = self.press(from)? else { return Ok(()) };
        if self.start_drag(from, serial).is_none() {
            return Ok(());
        }
        self.exchange()?;
        self.meddle()?;
        for _ in 0..=self.bytes.below(2) {
            let (x, y) = to.1;
            self.host.input(Action::Move { x, y });
            self.exchange()?;
            self.meddle()?;
        }
        self.answer_offer(to.0)?;
        self.meddle()?;
        if !self.bytes.one_in(8) {
            self.release();
        }
        self.end_offer(to.0)
    }

    fn touch_drag(&mut self) -> Result<(), Violation> {
        let Some(from) = self.shown(None)? else { return Ok(()) };
        let Some(to) = self.shown(Some(from.0))? else { return Ok(()) };
        for index in [from.0, to.0] {
            self.need(index, "wl_touch", "wl_seat", "get_touch");
            self.need(index, "wl_data_device", "wl_data_device_manager", "get_data_device");
        }
        self.exchange()?;
        let ((x, y), slot) = (from.1, 0);
        self.host.input(Action::TouchUp { slot });
        self.host.input(Action::TouchDown { slot, x, y });
        self.host.input(Action::TouchFrame);
        self.exchange()?;
        let serial = self.clients.get(from.0).and_then(|client| client.presses.last().copied());
        if serial.and_then(|serial| self.start_drag(from, serial)).is_none() {
            return Ok(());
        }
        self.exchange()?;
        self.meddle()?;
        let (x, y) = to.1;
        self.host.input(Action::TouchMove { slot, x, y });
        self.exchange()?;
        self.answer_offer(to.0)?;
        self.meddle()?;
        self.host.input(match self.bytes.one_in(6) {
            true => Action::TouchCancel,
            false => Action::TouchUp { slot },
        });
        self.end_offer(to.0)
    }

    /// One client copies, and another pastes.
    fn selection(&mut self, manager: &str, device: &str, create: &str) -> Result<(), Violation> {
        let Some(from) = self.shown(None)? else { return Ok(()) };
        let Some(to) = self.shown(Some(from.0))? else { return Ok(()) };
        let interface = match manager {
            "wl_data_device_manager" => "wl_data_device",
            _ => "zwp_primary_selection_device_v1",
        };
        let own = self.need(from.0, interface, manager, device);
        self.need(to.0, interface, manager, device);
        let serial = self.press(from)?.unwrap_or(0);
        self.release();
        self.host.input(Action::Key { code: ENTER, pressed: true });
        self.host.input(Action::Key { code: ENTER, pressed: false });
        let source = self.source(from.0, manager, create).map_or(0, |source| source.id);
        if let Some(own) = own {
            self.call(from.0, own, "set_selection", &[source, serial]);
        }
        self.exchange()?;
        self.meddle()?;
        self.press(to)?;
        self.release();
        self.exchange()?;
        let offers = match interface {
            "wl_data_device" => "wl_data_offer",
            _ => "zwp_primary_selection_offer_v1",
        };
        for index in [to.0, from.0] {
            let Some(offer) = self.last(index, offers) else { continue };
            self.call(index, offer, "receive", &[]);
            self.meddle()?;
            if self.bytes.one_in(2) {
                self.call(index, offer, "destroy", &[]);
            }
        }
        Ok(())
    }

    /// A menu of a window that was clicked, and a menu of the menu.
    fn popup_grab(&mut self) -> Result<(), Violation> {
        let Some(target) = self.shown(None)? else { return Ok(()) };
        let Some(serial) = self.press(target)? else { return Ok(()) };
        let index = target.0;
        for _ in 0..=self.bytes.below(3) {
            if self.bytes.one_in(2) {
                self.release();
            }
            self.map(index, "xdg_popup")?;
            let (Some(popup), Some(seat)) = (self.last(index, "xdg_popup"), self.last(index, "wl_seat"))
            else {
                break;
            };
            self.meddle()?;
            self.call(index, popup, "grab", &[seat.id, serial]);
            self.request_named(index, "wl_surface", "commit");
            self.exchange()?;
            if self.bytes.one_in(3) {
                self.request_named(index, "xdg_popup", "reposition");
            }
        }
        self.release();
        match self.bytes.below(3) {
            0 => self.request_named(index, "xdg_popup", "destroy"),
            1 => {
                if let Some(target) = self.target(Some(index)) {
                    self.press(target)?;
                    self.release();
                }
            }
            _ => self.host.input(Action::Key { code: ENTER, pressed: true }),
        }
        self.meddle()
    }

    fn layer_popup(&mut self) -> Result<(), Violation> {
        let index = self.client()?;
        self.map(index, "zwlr_layer_surface_v1")?;
        self.request_named(index, "xdg_wm_base", "create_positioner");
        self.request_named(index, "xdg_positioner", "set_size");
        self.request_named(index, "xdg_positioner", "set_anchor_rect");
        if self.bytes.one_in(3) {
            self.request_named(index, "xdg_positioner", "set_parent_configure");
        }
        self.request_named(index, "wl_compositor", "create_surface");
        self.request_named(index, "xdg_wm_base", "get_xdg_surface");
        let (Some(own), Some(positioner), Some(layer)) = (
            self.last(index, "xdg_surface"),
            self.last(index, "xdg_positioner"),
            self.last(index, "zwlr_layer_surface_v1"),
        ) else {
            return Ok(());
        };
        let Some(popup) = self.call(index, own, "get_popup", &[0, positioner.id]) else { return Ok(()) };
        self.meddle()?;
        self.call(index, layer, "get_popup", &[popup.id]);
        self.show(index, "xdg_surface")
    }

    /// Two subsurfaces of a window, which change places.
    fn subsurfaces(&mut self) -> Result<(), Violation> {
        let index = self.client()?;
        self.map(index, "xdg_toplevel")?;
        let (Some(subcompositor), Some(parent)) =
            (self.last(index, "wl_subcompositor"), self.last(index, "wl_surface"))
        else {
            return Ok(());
        };
        let mut siblings = vec![parent];
        for _ in 0..2 {
            self.request_named(index, "wl_compositor", "create_surface");
            let Some(surface) = self.last(index, "wl_surface") else { break };
            let arguments = [surface.id, parent.id];
            let own = self.call(index, subcompositor, "get_subsurface", &arguments);
            self.show(index, "")?;
            let Some(own) = own else { continue };
            self.call(index, own, "set_position", &[]);
            let request = if self.bytes.one_in(2) { "place_above" } else { "place_below" };
            if let Some(sibling) = self.bytes.pick(&siblings) {
                self.call(index, own, request, &[sibling.id]);
            }
            self.request_named(index, "wl_subsurface", "set_sync");
            self.meddle()?;
            if self.bytes.one_in(3) {
                self.call(index, own, "destroy", &[]);
            }
            siblings.push(surface);
            self.call(index, parent, "commit", &[]);
        }
        self.exchange()
    }

    /// A tool that sets all displays.
    fn output_configuration(&mut self) -> Result<(), Violation> {
        let index = self.client()?;
        let Some(manager) = self.last(index, "zwlr_output_manager_v1") else { return Ok(()) };
        let Some(configuration) = self.call(index, manager, "create_configuration", &[]) else {
            return Ok(());
        };
        let heads = self.clients.get(index).map_or_else(Vec::new, |client| client.of("zwlr_output_head_v1"));
        for head in heads {
            if self.bytes.one_in(5) {
                self.call(index, configuration, "disable_head", &[head.id]);
                continue;
            }
            let Some(own) = self.call(index, configuration, "enable_head", &[head.id]) else { continue };
            let modes: Vec<u32> = self.clients.get(index).map_or_else(Vec::new, |client| {
                let modes = client.of("zwlr_output_mode_v1").into_iter().map(|mode| mode.id);
                modes.filter(|id| client.parents.get(id) == Some(&head.id)).collect()
            });
            match (self.bytes.below(3), self.bytes.pick(&modes)) {
                (0, Some(mode)) => drop(self.call(index, own, "set_mode", &[mode])),
                (1, _) => drop(self.call(index, own, "set_custom_mode", &[])),
                _ => {}
            }
            for request in ["set_position", "set_transform", "set_scale", "set_adaptive_sync"] {
                if self.bytes.one_in(3) {
                    self.call(index, own, request, &[]);
                }
            }
        }
        self.meddle()?;
        let end = if self.bytes.one_in(2) { "test" } else { "apply" };
        self.call(index, configuration, end, &[]);
        self.exchange()?;
        if self.bytes.one_in(2) {
            self.call(index, configuration, "destroy", &[]);
        }
        Ok(())
    }

    fn color(&mut self) -> Result<(), Violation> {
        let index = self.client()?;
        self.request_named(index, "wl_compositor", "create_surface");
        self.request_named(index, "wp_color_manager_v1", "create_parametric_creator");
        let Some(creator) = self.last(index, "wp_image_description_creator_params_v1") else {
            return Ok(());
        };
        match self.bytes.one_in(3) {
            true => {
                let exponent = 10_000 + self.bytes.word() % 90_000;
                self.call(index, creator, "set_tf_power", &[exponent]);
            }
            false => {
                self.call(index, creator, "set_tf_named", &[]);
            }
        }
        match self.bytes.one_in(2) {
            true => drop(self.call(index, creator, "set_primaries", &[])),
            false => drop(self.call(index, creator, "set_primaries_named", &[])),
        }
        for request in [
            "set_luminances",
            "set_mastering_display_primaries",
            "set_mastering_luminance",
            "set_max_cll",
            "set_max_fall",
        ] {
            if self.bytes.one_in(4) {
                self.call(index, creator, request, &[]);
            }
        }
        let description = self.call(index, creator, "create", &[]);
        self.exchange()?;
        self.request_named(index, "wp_color_representation_manager_v1", "get_surface");
        for request in ["set_alpha_mode", "set_coefficients_and_range", "set_chroma_location", "destroy"] {
            if self.bytes.one_in(2) {
                self.request_named(index, "wp_color_representation_surface_v1", request);
            }
        }
        let (Some(manager), Some(surface)) =
            (self.last(index, "wp_color_manager_v1"), self.last(index, "wl_surface"))
        else {
            return Ok(());
        };
        let own = self.call(index, manager, "get_surface", &[surface.id]);
        if let (Some(own), Some(description)) = (own, description) {
            self.call(index, own, "set_image_description", &[description.id, 0]);
        }
        self.meddle()?;
        let (factory, request) = match self.bytes.below(3) {
            0 => (self.call(index, manager, "get_output", &[]), "get_image_description"),
            1 => (self.call(index, manager, "get_surface_feedback", &[surface.id]), "get_preferred"),
            _ => {
                (self.call(index, manager, "get_surface_feedback", &[surface.id]), "get_preferred_parametric")
            }
        };
        if let Some(description) = factory.and_then(|factory| self.call(index, factory, request, &[])) {
            self.exchange()?;
            self.call(index, description, "get_information", &[]);
        }
        if let Some(own) = own.filter(|_| self.bytes.one_in(2)) {
            let end = if self.bytes.one_in(2) { "unset_image_description" } else { "destroy" };
            self.call(index, own, end, &[]);
        }
        self.show(index, "")
    }

    /// A client sets the cursor as the pointer enters its window.
    fn cursor(&mut self) -> Result<(), Violation> {
        let Some(target) = self.shown(None)? else { return Ok(()) };
        let (index, (x, y)) = target;
        let Some(pointer) = self.need(index, "wl_pointer", "wl_seat", "get_pointer") else { return Ok(()) };
        self.exchange()?;
        self.host.input(Action::Move { x: -1.0, y: -1.0 });
        self.host.input(Action::Move { x, y });
        self.exchange()?;
        let serial = self.clients.get(index).and_then(|client| client.enters.last().copied());
        let serial = serial.unwrap_or(0);
        let manager = self.last(index, "wp_cursor_shape_manager_v1");
        let device = manager.and_then(|manager| self.call(index, manager, "get_pointer", &[pointer.id]));
        if let Some(device) = device {
            self.call(index, device, "set_shape", &[serial]);
        }
        self.meddle()?;
        self.request_named(index, "wl_compositor", "create_surface");
        if let Some(surface) = self.last(index, "wl_surface") {
            self.call(index, pointer, "set_cursor", &[serial, surface.id]);
            self.show(index, "")?;
        }
        Ok(())
    }

    /// A buffer of one plane of memory, which is no dma-buf.
    fn dmabuf(&mut self) -> Result<(), Violation> {
        /// DRM_FORMAT_XRGB8888 (drm_fourcc.h)
        const XRGB: u32 = 0x3432_5258;
        let index = self.client()?;
        let Some(global) = self.last(index, "zwp_linux_dmabuf_v1") else { return Ok(()) };
        let Some(params) = self.call(index, global, "create_params", &[]) else { return Ok(()) };
        for plane in 0..=u32::from(self.bytes.one_in(3)) {
            self.call(index, params, "add", &[plane, 0, 64, 0, 0]);
        }
        let request = if self.bytes.one_in(6) { "create_immed" } else { "create" };
        self.call(index, params, request, &[16, 16, XRGB, 0]);
        self.call(index, global, "get_default_feedback", &[]);
        self.meddle()?;
        self.call(index, params, "destroy", &[]);
        self.request_named(index, "zwp_linux_dmabuf_v1", "get_surface_feedback");
        self.exchange()
    }

    /// A sandbox engine hands over a socket.
    fn sandbox(&mut self) -> Result<(), Violation> {
        let index = self.client()?;
        let Some(manager) = self.last(index, "wp_security_context_manager_v1") else { return Ok(()) };
        let Some(context) = self.call(index, manager, "create_listener", &[]) else { return Ok(()) };
        for request in ["set_sandbox_engine", "set_app_id", "set_instance_id"] {
            if !self.bytes.one_in(4) {
                self.call(index, context, request, &[]);
            }
        }
        self.call(index, context, "commit", &[]);
        self.exchange()?;
        if let Some(client) = self.clients.get_mut(index) {
            client.files.connect();
        }
        self.call(index, context, "destroy", &[]);
        self.exchange()
    }
}
