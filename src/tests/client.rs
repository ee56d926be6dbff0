//! A Wayland client that a test drives step by step, on top of `geom-test-client`.

use std::os::unix::net::UnixStream;

use geom_test_client::{now, Client, ClientState, Event, Handler, Output, Window};
use wayland_client::protocol::wl_registry;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{delegate_noop, Connection, Dispatch, Proxy, QueueHandle};
use wayland_protocols::wp::color_management::v1::client::wp_color_management_output_v1::WpColorManagementOutputV1;
use wayland_protocols::wp::color_management::v1::client::wp_color_management_surface_v1::WpColorManagementSurfaceV1;
use wayland_protocols::wp::color_management::v1::client::wp_color_manager_v1::{
    Primaries, TransferFunction, WpColorManagerV1,
};
use wayland_protocols::wp::color_management::v1::client::wp_image_description_creator_params_v1::WpImageDescriptionCreatorParamsV1;
use wayland_protocols::wp::color_management::v1::client::wp_image_description_info_v1::{
    self, WpImageDescriptionInfoV1,
};
use wayland_protocols::wp::color_management::v1::client::wp_image_description_v1::{
    self, WpImageDescriptionV1,
};
use wayland_protocols::wp::color_representation::v1::client::wp_color_representation_manager_v1::{
    self, WpColorRepresentationManagerV1,
};
use wayland_protocols::wp::color_representation::v1::client::wp_color_representation_surface_v1::{
    AlphaMode, Coefficients, Range, WpColorRepresentationSurfaceV1,
};
use wayland_protocols::xdg::shell::client::{xdg_popup, xdg_positioner, xdg_surface};
use wayland_protocols_wlr::output_power_management::v1::client::zwlr_output_power_manager_v1::ZwlrOutputPowerManagerV1;
use wayland_protocols_wlr::output_power_management::v1::client::zwlr_output_power_v1::{
    self, ZwlrOutputPowerV1,
};

/// The color of menus.
pub const MENU: u32 = 0x0000_00ff;

/// An event of zwlr_output_power_v1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerEvent {
    On,
    Off,
    Failed,
}

/// A popup that takes all input.
pub struct Menu {
    pub surface: WlSurface,
    xdg_surface: xdg_surface::XdgSurface,
    popup: xdg_popup::XdgPopup,
    pub configured: bool,
    drawn: bool,
    /// The compositor has dismissed it.
    pub done: bool,
}

/// What the client has bound, and what the compositor sent.
#[derive(Default)]
pub struct TestState {
    client: ClientState,
    power: Option<ZwlrOutputPowerManagerV1>,
    color: Option<WpColorManagerV1>,
    representation: Option<WpColorRepresentationManagerV1>,
    /// The supported alpha modes.
    pub alpha_modes: Vec<AlphaMode>,
    /// The supported coefficients and ranges.
    pub coefficients: Vec<(Coefficients, Range)>,
    /// Identities of the image descriptions that are ready.
    pub ready: Vec<u32>,
    /// Events about image descriptions.
    pub information: Vec<wp_image_description_info_v1::Event>,
    pub power_events: Vec<PowerEvent>,
    /// Position and size of the configured popups.
    pub popups: Vec<(i32, i32, i32, i32)>,
    /// The surfaces of the popups that the client opened.
    pub popup_surfaces: Vec<WlSurface>,
    /// The popups that take all input, in the order of their requests.
    pub menus: Vec<Menu>,
    hidden_menu: Option<WlSurface>,
    /// Number of frame callbacks.
    pub frames: usize,
    /// Number of presented frames.
    pub presented: usize,
    pub idle: super::idle::Globals,
    pub layers: super::layers::Globals,
    pub devices: super::seat::Devices,
    pub tablets: super::tablet_client::Tablets,
    pub gestures: super::gestures::Gestures,
    pub dmabuf: super::dmabuf_feedback::Globals,
}

impl AsMut<ClientState> for TestState {
    fn as_mut(&mut self) -> &mut ClientState {
        &mut self.client
    }
}

/// A client and its connection.
pub struct TestClient {
    client: Client<TestState>,
    /// Whether the compositor has disconnected it.
    pub disconnected: bool,
}

impl std::ops::Deref for TestClient {
    type Target = TestState;

    fn deref(&self) -> &TestState {
        &self.client.state
    }
}

impl std::ops::DerefMut for TestClient {
    fn deref_mut(&mut self) -> &mut TestState {
        &mut self.client.state
    }
}

impl TestState {
    pub fn windows(&self) -> &[Window] {
        &self.client.windows
    }

    pub fn outputs(&self) -> &[Output] {
        &self.client.outputs
    }

    /// Whether the compositor has sent the names of this number of outputs.
    pub fn has_outputs(&self, count: usize) -> bool {
        self.client.outputs.iter().filter(|output| !output.name.is_empty()).count() == count
    }

    pub fn has_color(&self) -> bool {
        self.color.is_some()
    }
}

impl TestClient {
    pub fn new(stream: UnixStream) -> Self {
        let client = Client::from_socket(stream, TestState::default()).expect("a connection");
        Self { client, disconnected: false }
    }

    /// Sends requests and handles events without waiting; returns whether it is still connected.
    pub fn poll(&mut self) -> bool {
        self.disconnected |= self.client.poll().is_err();
        if self.menus.iter().any(|menu| menu.configured && !menu.drawn) {
            self.draw_menus();
            self.disconnected |= self.client.poll().is_err();
        }
        !self.disconnected
    }

    /// Shows the menus that are configured.
    fn draw_menus(&mut self) {
        let undrawn = self.menus.iter_mut().filter(|menu| menu.configured && !menu.done && !menu.drawn);
        let surfaces: Vec<WlSurface> = undrawn
            .map(|menu| {
                menu.drawn = true;
                menu.surface.clone()
            })
            .collect();
        for surface in surfaces.iter().filter(|surface| surface.is_alive()) {
            self.show(surface, (200, 100), MENU);
        }
    }

    /// As [`TestClient::new`], with a version of xdg_wm_base.
    pub fn with_wm_base(stream: UnixStream, version: u32) -> Self {
        let mut client = Self::new(stream);
        client.client.state.client.wm_base_version = Some(version);
        client
    }

    /// Reads the events that have arrived, and handles none. Returns whether it is still connected.
    pub fn read(&mut self) -> bool {
        self.disconnected |= self.client.read().is_err();
        !self.disconnected
    }

    pub fn connection(&self) -> &Connection {
        self.client.connection()
    }

    pub fn handle(&self) -> QueueHandle<TestState> {
        self.client.handle()
    }

    /// Sends requests without an effect.
    pub fn send_requests(&mut self) {
        self.state().create_surface(&self.handle()).expect("wl_compositor").destroy();
        self.client.flush().expect("a request");
    }

    fn state(&self) -> &ClientState {
        &self.client.state.client
    }

    pub fn has_globals(&self) -> bool {
        let state = self.state();
        state.wm_base.is_some() && state.shm.is_some() && state.compositor.is_some()
    }

    /// Opens a window of a color, which draws at each configure event; returns its index.
    pub fn open(&mut self, app_id: &str, color: u32, fullscreen_on: Option<&str>) -> usize {
        let index = self.create(app_id, color, fullscreen_on);
        self.commit(index);
        index
    }

    /// Opens a dialog of 100 by 100 of a window; returns its index.
    pub fn open_dialog(&mut self, parent: usize, color: u32) -> usize {
        let index = self.create("dialog", color, None);
        self.set_parent(index, parent);
        self.commit(index);
        index
    }

    /// Makes a window a dialog of another one.
    pub fn set_parent(&self, index: usize, parent: usize) {
        let toplevel = |index: usize| &self.windows()[index].toplevel.as_ref().expect("a toplevel").toplevel;
        toplevel(index).set_parent(Some(toplevel(parent)));
    }

    pub fn create(&mut self, app_id: &str, color: u32, fullscreen_on: Option<&str>) -> usize {
        let queue = self.handle();
        let state = &mut self.client.state.client;
        state.create_toplevel(&queue, app_id, color, (100, 100), fullscreen_on).expect("a window")
    }

    pub fn close(&mut self, index: usize) {
        let window = &self.windows()[index];
        let toplevel = window.toplevel.as_ref().expect("a toplevel");
        toplevel.toplevel.destroy();
        toplevel.xdg_surface.destroy();
        window.surface.destroy();
    }

    /// Opens a popup of 200 by 100 at a position in a window.
    pub fn popup(&mut self, index: usize, at: (i32, i32)) {
        let parent = self.windows()[index].toplevel.as_ref().expect("a toplevel").xdg_surface.clone();
        let Menu { surface, .. } = self.create_popup(&parent, at);
        surface.commit();
        self.popup_surfaces.push(surface);
    }

    /// Opens a popup of 200 by 100 at a position in a window that takes all input, because of the
    /// press or touch with this serial.
    pub fn menu(&mut self, index: usize, at: (i32, i32), serial: u32) {
        let parent = self.windows()[index].toplevel.as_ref().expect("a toplevel").xdg_surface.clone();
        self.open_menu(&parent, at, serial);
    }

    /// As [`Self::menu`], of the menu with this index.
    pub fn submenu(&mut self, index: usize, at: (i32, i32), serial: u32) {
        let parent = self.menus[index].xdg_surface.clone();
        self.open_menu(&parent, at, serial);
    }

    fn open_menu(&mut self, parent: &xdg_surface::XdgSurface, at: (i32, i32), serial: u32) {
        let menu = self.create_popup(parent, at);
        menu.popup.grab(self.devices.seat.as_ref().expect("wl_seat"), serial);
        menu.surface.commit();
        self.menus.push(menu);
    }

    /// Destroys a menu.
    pub fn close_menu(&mut self, index: usize) {
        let menu = &self.menus[index];
        menu.popup.destroy();
        menu.xdg_surface.destroy();
        menu.surface.destroy();
    }

    /// Destroys a menu's role and hides its surface. The next menu has the same surface, as with
    /// GTK 4.
    pub fn hide_menu(&mut self, index: usize) {
        let menu = &self.menus[index];
        menu.popup.destroy();
        menu.xdg_surface.destroy();
        menu.surface.attach(None, 0, 0);
        menu.surface.commit();
        self.hidden_menu = Some(menu.surface.clone());
    }

    fn create_popup(&mut self, parent: &xdg_surface::XdgSurface, at: (i32, i32)) -> Menu {
        let hidden = self.hidden_menu.take();
        let queue = self.handle();
        let wm_base = self.state().wm_base.as_ref().expect("xdg_wm_base");
        let positioner = wm_base.create_positioner(&queue, ());
        positioner.set_size(200, 100);
        positioner.set_anchor_rect(at.0, at.1, 1, 1);
        positioner.set_gravity(xdg_positioner::Gravity::BottomRight);
        positioner.set_constraint_adjustment(
            xdg_positioner::ConstraintAdjustment::SlideX | xdg_positioner::ConstraintAdjustment::SlideY,
        );
        let surface = hidden.unwrap_or_else(|| self.state().create_surface(&queue).expect("wl_compositor"));
        let xdg_surface = wm_base.get_xdg_surface(&surface, &queue, None);
        let popup = xdg_surface.get_popup(Some(parent), &positioner, &queue, ());
        Menu { surface, xdg_surface, popup, configured: false, drawn: false, done: false }
    }

    /// Creates the object that controls a display's power.
    pub fn output_power(&mut self, display: &str) -> ZwlrOutputPowerV1 {
        let output = self.state().output(display).expect("the display");
        let manager = self.power.as_ref().expect("zwlr_output_power_manager_v1");
        manager.get_output_power(output, &self.handle(), ())
    }

    /// Creates an image description of named primaries and a named transfer function.
    pub fn description(&mut self, primaries: Primaries, transfer: TransferFunction) -> WpImageDescriptionV1 {
        let queue = self.handle();
        let manager = self.color.as_ref().expect("wp_color_manager_v1");
        let creator = manager.create_parametric_creator(&queue, ());
        creator.set_primaries_named(primaries);
        creator.set_tf_named(transfer);
        creator.create(&queue, ())
    }

    /// Breaks the protocol: creates an image description without primaries and transfer function.
    pub fn incomplete_description(&mut self) {
        let queue = self.handle();
        let manager = self.color.as_ref().expect("wp_color_manager_v1");
        manager.create_parametric_creator(&queue, ()).create(&queue, ());
    }

    /// Creates the object that sets a window's image description.
    pub fn color_surface(&mut self, index: usize) -> WpColorManagementSurfaceV1 {
        let manager = self.color.as_ref().expect("wp_color_manager_v1");
        manager.get_surface(&self.windows()[index].surface, &self.handle(), ())
    }

    /// Creates the object that sets a window's color representation.
    pub fn representation_surface(&mut self, index: usize) -> WpColorRepresentationSurfaceV1 {
        let manager = self.representation.as_ref().expect("wp_color_representation_manager_v1");
        manager.get_surface(&self.windows()[index].surface, &self.handle(), ())
    }

    /// Requests the information about a display's image description.
    pub fn request_output_description(&mut self, display: &str) {
        let queue = self.handle();
        let output = self.state().output(display).expect("the display");
        let manager = self.color.as_ref().expect("wp_color_manager_v1");
        let description = manager.get_output(output, &queue, ()).get_image_description(&queue, ());
        description.get_information(&queue, ());
    }

    /// Returns a display's `wl_output`.
    pub fn output(&self, display: &str) -> Option<wayland_client::protocol::wl_output::WlOutput> {
        self.state().output(display).cloned()
    }

    pub fn surface(&self) -> WlSurface {
        self.state().create_surface(&self.handle()).expect("wl_compositor")
    }

    /// Attaches a buffer of a color to a surface and commits it.
    pub fn show(&self, surface: &WlSurface, size: (i32, i32), color: u32) {
        let buffer = self.state().create_buffer(&self.handle(), size, color).expect("a buffer");
        surface.attach(Some(&buffer.wl), 0, 0);
        surface.commit();
    }

    pub fn commit(&mut self, index: usize) {
        self.windows()[index].surface.commit();
    }

    /// Sets the color of a window's next buffers.
    pub fn set_color(&mut self, index: usize, color: u32) {
        self.client.state.client.windows[index].color = color;
    }

    /// Attaches a new buffer to a window, with a change of this size in its top left corner.
    pub fn change(&mut self, index: usize, (width, height): (i32, i32)) {
        let window = &self.windows()[index];
        let buffer = self.state().create_buffer(&self.handle(), window.size, window.color);
        window.surface.attach(Some(&buffer.expect("a buffer").wl), 0, 0);
        window.surface.damage(0, 0, width, height);
        window.surface.commit();
    }

    /// Breaks the protocol: commits a buffer before the first configure event.
    pub fn commit_before_configure(&mut self) {
        let queue = self.handle();
        let index = self.open("broken", 0, None);
        let buffer = self.state().create_buffer(&queue, (10, 10), 0).expect("a buffer");
        let surface = &self.windows()[index].surface;
        surface.attach(Some(&buffer.wl), 0, 0);
        surface.commit();
    }
}

geom_test_client::delegate_test_client!(TestState);
delegate_noop!(TestState: ignore xdg_positioner::XdgPositioner);
delegate_noop!(TestState: ignore ZwlrOutputPowerManagerV1);
delegate_noop!(TestState: ignore WpColorManagerV1);
delegate_noop!(TestState: ignore WpColorManagementSurfaceV1);
delegate_noop!(TestState: ignore WpColorRepresentationSurfaceV1);
delegate_noop!(TestState: ignore WpColorManagementOutputV1);
delegate_noop!(TestState: ignore WpImageDescriptionCreatorParamsV1);

impl Handler for TestState {
    fn on_global(
        &mut self,
        registry: &wl_registry::WlRegistry,
        name: u32,
        interface: &str,
        _: u32,
        queue: &QueueHandle<Self>,
    ) {
        match interface {
            "zwlr_output_power_manager_v1" => self.power = Some(registry.bind(name, 1, queue, ())),
            "wp_color_representation_manager_v1" => {
                self.representation = Some(registry.bind(name, 1, queue, ()));
            }
            "wp_color_manager_v1" => self.color = Some(registry.bind(name, 1, queue, ())),
            "zwlr_layer_shell_v1" => self.layers.bind(registry, name, queue),
            "wl_seat" => {
                self.devices.bind(registry, name, queue);
                self.idle.bind(registry, name, interface, queue);
            }
            // Only clients whose test wants them: the others' pointer is moved by pens.
            "zwp_tablet_manager_v2" => self.tablets.offer(registry, name),
            "zwp_pointer_gestures_v1" => self.gestures.bind(registry, name, queue),
            "zwp_linux_dmabuf_v1" => self.dmabuf.bind(registry, name, queue),
            other => self.idle.bind(registry, name, other, queue),
        }
    }

    fn on_event(&mut self, event: Event, queue: &QueueHandle<Self>) {
        match event {
            Event::Configured(index) => self.draw(index, queue),
            Event::FrameDone => self.frames += 1,
            Event::Presented { .. } => self.presented += 1,
            _ => {}
        }
    }
}

impl TestState {
    fn draw(&mut self, index: usize, queue: &QueueHandle<Self>) {
        let Window { surface, size, color, .. } = &self.client.windows[index];
        if !surface.is_alive() {
            return;
        }
        let buffer = self.client.create_buffer(queue, *size, *color).expect("a buffer");
        surface.attach(Some(&buffer.wl), 0, 0);
        surface.damage(0, 0, i32::MAX, i32::MAX);
        surface.frame(queue, ());
        if let Some(presentation) = &self.client.presentation {
            presentation.feedback(surface, queue, now());
        }
        surface.commit();
    }
}

impl Dispatch<xdg_popup::XdgPopup, ()> for TestState {
    fn event(
        state: &mut Self,
        popup: &xdg_popup::XdgPopup,
        event: xdg_popup::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let menu = state.menus.iter_mut().find(|menu| menu.popup == *popup);
        match (event, menu) {
            (xdg_popup::Event::Configure { x, y, width, height }, menu) => {
                state.popups.push((x, y, width, height));
                menu.into_iter().for_each(|menu| menu.configured = true);
            }
            (xdg_popup::Event::PopupDone, Some(menu)) => menu.done = true,
            _ => {}
        }
    }
}

impl Dispatch<WpImageDescriptionV1, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &WpImageDescriptionV1,
        event: wp_image_description_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wp_image_description_v1::Event::Ready { identity } = event {
            state.ready.push(identity);
        }
    }
}

impl Dispatch<WpImageDescriptionInfoV1, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &WpImageDescriptionInfoV1,
        event: wp_image_description_info_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.information.push(event);
    }
}

impl Dispatch<WpColorRepresentationManagerV1, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &WpColorRepresentationManagerV1,
        event: wp_color_representation_manager_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use wp_color_representation_manager_v1::Event;
        match event {
            Event::SupportedAlphaMode { alpha_mode } => state.alpha_modes.extend(alpha_mode.into_result()),
            Event::SupportedCoefficientsAndRanges { coefficients, range } => {
                state.coefficients.extend(coefficients.into_result().ok().zip(range.into_result().ok()));
            }
            _ => {}
        }
    }
}

impl Dispatch<ZwlrOutputPowerV1, ()> for TestState {
    fn event(
        state: &mut Self,
        _: &ZwlrOutputPowerV1,
        event: zwlr_output_power_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.power_events.push(match event {
            zwlr_output_power_v1::Event::Mode { mode } => match mode.into_result() {
                Ok(zwlr_output_power_v1::Mode::Off) => PowerEvent::Off,
                _ => PowerEvent::On,
            },
            _ => PowerEvent::Failed,
        });
    }
}
