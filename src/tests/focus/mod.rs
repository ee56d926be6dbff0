//! Who has the keyboard and the pointer, end to end: reports from other compositors
//! (docs/field-reports.md) as tests with real clients.

mod keyboard;
mod pointer;
mod popups;

use wayland_client::protocol::wl_surface::WlSurface;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_shell_v1::Layer;
use wayland_protocols_wlr::layer_shell::v1::client::zwlr_layer_surface_v1::{
    Anchor, KeyboardInteractivity, ZwlrLayerSurfaceV1,
};

use super::{Fixture, TestClient};

pub const RED: u32 = 0x00ff_0000;
pub const GREEN: u32 = 0x0000_ff00;
pub const FIRST: &str = "HEADLESS-1";
pub const SECOND: &str = "HEADLESS-2";
/// A point on each of the displays of [`Fixture::pair`], which no popup of a test covers.
pub const ON_FIRST: (f64, f64) = (700.0, 500.0);
pub const ON_SECOND: (f64, f64) = (1300.0, 400.0);

/// Alternates between the compositor and two clients until a condition holds.
pub fn until_both(
    fixture: &mut Fixture,
    [one, other]: [&mut TestClient; 2],
    what: &str,
    mut holds: impl FnMut(&mut Fixture, &TestClient, &TestClient) -> bool,
) {
    fixture.until(what, |fixture| {
        one.poll();
        other.poll();
        holds(fixture, one, other)
    });
}

/// Opens a window and waits until it is seen.
pub fn shown(fixture: &mut Fixture, app_id: &str, color: u32, display: &str) -> TestClient {
    let mut client = fixture.client();
    fixture.until("displays", |_| client.poll() && client.has_outputs(2));
    client.open(app_id, color, Some(display).filter(|display| *display == SECOND && app_id != "ruled"));
    fixture.until("a window", |_| {
        client.poll();
        client.presented > 0 && client.windows()[0].outputs == [display]
    });
    client
}

pub fn has_keyboard(client: &TestClient, window: usize) -> bool {
    client.devices.keyboard_on.as_ref() == Some(&client.windows()[window].surface)
}

fn has_pointer(client: &TestClient, window: usize) -> bool {
    client.devices.pointer_on.as_ref() == Some(&client.windows()[window].surface)
}

/// Returns whether a surface of a client is what is seen at a point of the layout.
fn is_at(fixture: &Fixture, client_surface: &WlSurface, (x, y): (f64, f64)) -> bool {
    use smithay::reexports::wayland_server::Resource;
    use wayland_client::Proxy;
    let state = &fixture.compositor.state;
    let under = state.shell.surface_at((x, y).into(), &state.outputs);
    under.is_some_and(|(surface, _)| surface.id().protocol_id() == client_surface.id().protocol_id())
}

/// A layer surface that fills its display.
struct TestLayer {
    surface: WlSurface,
    role: ZwlrLayerSurfaceV1,
}

/// Creates a layer surface that fills a display and commits it.
fn layer(
    client: &TestClient,
    display: &str,
    layer: Layer,
    interactivity: KeyboardInteractivity,
) -> TestLayer {
    let surface = client.surface();
    let shell = client.layers.shell.as_ref().expect("zwlr_layer_shell_v1");
    let output = client.output(display).expect("the display");
    let role = shell.get_layer_surface(&surface, Some(&output), layer, "layer".into(), &client.handle(), ());
    role.set_anchor(Anchor::all());
    role.set_exclusive_zone(-1);
    role.set_keyboard_interactivity(interactivity);
    surface.commit();
    TestLayer { surface, role }
}

/// Maps a layer surface of 800 by 600 in a color: waits for its configure event, and draws.
fn map_layer(fixture: &mut Fixture, client: &mut TestClient, layer: &TestLayer, before: usize, color: u32) {
    fixture.until("a configure event", |_| {
        client.poll();
        client.layers.configured() > before
    });
    client.show(&layer.surface, (800, 600), color);
}
