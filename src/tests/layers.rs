//! Layer surfaces: how they are unmapped and mapped again.

use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{delegate_noop, Connection, Dispatch, QueueHandle};
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::{Layer, ZwlrLayerShellV1};
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::{
    self, Anchor, KeyboardInteractivity, ZwlrLayerSurfaceV1,
};

use super::client::TestState;
use super::{until, Fixture, TestClient};

/// The client's global, and the number of configure events that it received and acknowledged.
#[derive(Default)]
pub struct Globals {
    pub shell: Option<ZwlrLayerShellV1>,
    configured: usize,
}

impl Globals {
    /// Returns the number of configure events.
    pub fn configured(&self) -> usize {
        self.configured
    }

    pub fn bind(&mut self, registry: &WlRegistry, name: u32, queue: &QueueHandle<TestState>) {
        self.shell = Some(registry.bind(name, 4, queue, ()));
    }
}

delegate_noop!(TestState: ignore ZwlrLayerShellV1);

impl Dispatch<ZwlrLayerSurfaceV1, ()> for TestState {
    fn event(
        state: &mut Self,
        layer: &ZwlrLayerSurfaceV1,
        event: zwlr_layer_surface_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let zwlr_layer_surface_v1::Event::Configure { serial, .. } = event {
            layer.ack_configure(serial);
            state.layers.configured += 1;
        }
    }
}

const RED: u32 = 0x00ff_0000;
const GREEN: u32 = 0x0000_ff00;
pub const HEIGHT: i32 = 100;

/// Creates a panel at the top edge that takes the keyboard; it is not committed yet.
pub fn create_panel(client: &TestClient) -> WlSurface {
    let queue = client.handle();
    let surface = client.surface();
    let shell = client.layers.shell.as_ref().expect("zwlr_layer_shell_v1");
    let panel = shell.get_layer_surface(&surface, None, Layer::Top, "panel".into(), &queue, ());
    panel.set_size(0, HEIGHT as u32);
    panel.set_anchor(Anchor::Top | Anchor::Left | Anchor::Right);
    panel.set_exclusive_zone(HEIGHT);
    panel.set_keyboard_interactivity(KeyboardInteractivity::Exclusive);
    surface
}

/// Returns whether a window has the keyboard; `None` if no surface has it.
fn window_has_keyboard(fixture: &Fixture) -> Option<bool> {
    let state = &fixture.compositor.state;
    state.keyboard_focus().map(|surface| state.shell.window_of(&surface).is_some())
}

#[test]
fn layer_surface_gives_up_the_keyboard_and_its_zone_when_unmapped() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the window's focus", |fixture, client| {
        window_has_keyboard(fixture) == Some(true) && client.windows()[0].size == (800, 600)
    });
    let panel = create_panel(&client);
    for _ in 0..2 {
        // A commit without a buffer is answered by a configure event, also after unmapping.
        let before = client.layers.configured;
        panel.commit();
        until(&mut fixture, &mut client, "a configure event", |_, client| client.layers.configured > before);
        client.show(&panel, (800, HEIGHT), GREEN);
        until(&mut fixture, &mut client, "the panel's focus and zone", |fixture, client| {
            window_has_keyboard(fixture) == Some(false) && client.windows()[0].size == (800, 500)
        });
        panel.attach(None, 0, 0);
        panel.commit();
        until(&mut fixture, &mut client, "focus and size of the window", |fixture, client| {
            window_has_keyboard(fixture) == Some(true) && client.windows()[0].size == (800, 600)
        });
    }
}
