//! Requests that end or stop other display servers: the client is refused, and others do not
//! notice.

mod floods;
mod fuzzed;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{memfd_create, MemfdFlags};

use geom_test_client::wire::{op, Arg, Wire, WireError};

use super::{Fixture, TestClient};

/// Opcodes of events.
mod event {
    pub const XDG_SURFACE_CONFIGURE: u16 = 0;
    pub const POPUP_DONE: u16 = 1;
    pub const LAYER_CONFIGURE: u16 = 0;
}

/// wl_display.error
const INVALID_METHOD: u32 = 1;
const NO_MEMORY: u32 = 2;
/// xdg_wm_base.error.invalid_popup_parent
const INVALID_POPUP_PARENT: u32 = 3;
/// wl_shm.error.invalid_fd
const INVALID_FD: u32 = 2;
/// wl_subcompositor.error.bad_surface, wl_subsurface.error.bad_surface
const BAD_SURFACE: u32 = 0;

/// A hostile client, and a well-behaved one.
struct Scene {
    fixture: Fixture,
    wire: Wire,
    /// The hostile client's wl_compositor and xdg_wm_base.
    compositor: u32,
    wm_base: u32,
    other: TestClient,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    fn with(config: &str) -> Self {
        let mut fixture = Fixture::new(&format!("[headless]\ndisplays = [\"800x600\"]\n{config}"));
        let other = fixture.client();
        let mut wire = Wire::new(fixture.connect()).expect("a socket");
        fixture.until("globals", |_| {
            wire.exchange();
            wire.has_global("xdg_wm_base") && wire.has_global("wl_seat")
        });
        let (compositor, wm_base) = (wire.bind("wl_compositor"), wire.bind("xdg_wm_base"));
        Self { fixture, wire, compositor, wm_base, other }
    }

    /// Returns a surface.
    fn surface(&mut self) -> u32 {
        self.wire.create(self.compositor, op::CREATE_SURFACE, &[])
    }

    /// Waits until the hostile client is disconnected, and returns the error that it got.
    fn refused(mut self) -> WireError {
        let wire = &mut self.wire;
        self.fixture.until("the end of the hostile client", |_| {
            wire.exchange();
            wire.is_closed
        });
        let error = self.wire.error.take().expect("an error before the end");
        self.is_served();
        error
    }

    /// Waits until both clients have been answered.
    fn survives(mut self) {
        let wire = &mut self.wire;
        let callback = wire.id();
        wire.send(1, 0, &[Arg::Uint(callback)]);
        wire.exchange();
        let since = Instant::now();
        self.fixture.run_for(Duration::from_millis(50));
        assert!(since.elapsed() < Duration::from_secs(5), "an iteration takes too long");
        self.wire.exchange();
        assert!(!self.wire.is_closed && self.wire.error.is_none(), "{:?}", self.wire.error);
        self.is_served();
    }

    fn is_served(&mut self) {
        let frames = self.fixture.client();
        assert!(!frames.disconnected && !self.other.disconnected);
        let other = &mut self.other;
        assert!(other.poll(), "the other client is still connected");
    }
}

fn memfd(size: u64) -> OwnedFd {
    let file = memfd_create("test", MemfdFlags::CLOEXEC).expect("a memfd");
    rustix::fs::ftruncate(&file, size).expect("its size");
    file
}

fn positioner(scene: &mut Scene) -> u32 {
    let positioner = scene.wire.create(scene.wm_base, op::CREATE_POSITIONER, &[]);
    scene.wire.send(positioner, op::POSITIONER_SET_SIZE, &[Arg::Int(1), Arg::Int(1)]);
    let rectangle = [Arg::Int(0), Arg::Int(0), Arg::Int(1), Arg::Int(1)];
    scene.wire.send(positioner, op::POSITIONER_SET_ANCHOR_RECT, &rectangle);
    positioner
}

fn xdg_surface(scene: &mut Scene, surface: u32) -> u32 {
    scene.wire.create(scene.wm_base, op::GET_XDG_SURFACE, &[Arg::Uint(surface)])
}

/// Returns a surface, its xdg_surface and its xdg_toplevel.
fn toplevel(scene: &mut Scene) -> (u32, u32, u32) {
    let surface = scene.surface();
    let xdg_surface = xdg_surface(scene, surface);
    (surface, xdg_surface, scene.wire.create(xdg_surface, op::GET_TOPLEVEL, &[]))
}

fn popup(scene: &mut Scene, xdg_surface: u32, parent: u32, positioner: u32) -> u32 {
    scene.wire.create(xdg_surface, op::GET_POPUP, &[Arg::Uint(parent), Arg::Uint(positioner)])
}

/// Returns a pool of a file of `size` bytes.
fn pool(wire: &mut Wire, size: i32) -> u32 {
    let (shm, pool) = (wire.bind("wl_shm"), wire.id());
    let file = memfd(size as u64);
    wire.send_with(shm, op::CREATE_POOL, &[Arg::Uint(pool), Arg::Int(size)], &[file.as_fd()])
        .expect("space in the socket");
    pool
}

/// Attaches a buffer of a pixel to a surface, and commits it.
fn attach(wire: &mut Wire, surface: u32) {
    wire.exchange();
    let pool = pool(wire, 4);
    let numbers = [0, 1, 1, 4, 1].map(Arg::Int);
    let buffer = wire.create(pool, op::POOL_CREATE_BUFFER, &numbers);
    wire.send(surface, op::SURFACE_ATTACH, &[Arg::Uint(buffer), Arg::Int(0), Arg::Int(0)]);
    wire.send(surface, op::SURFACE_COMMIT, &[]);
}

/// Opens a window, and returns its xdg_surface once it is shown.
fn window(scene: &mut Scene) -> u32 {
    shown_window(scene).1
}

/// Opens a window, and returns its surface and xdg_surface once it is shown.
fn shown_window(scene: &mut Scene) -> (u32, u32) {
    let (surface, xdg_surface, _) = toplevel(scene);
    scene.wire.send(surface, op::SURFACE_COMMIT, &[]);
    let wire = &mut scene.wire;
    scene.fixture.until("the configure event", |_| {
        wire.exchange();
        wire.event(xdg_surface, event::XDG_SURFACE_CONFIGURE).is_some()
    });
    let serial = wire.event(xdg_surface, event::XDG_SURFACE_CONFIGURE).expect("configured");
    let serial = u32::from_ne_bytes(serial.try_into().expect("one argument"));
    wire.send(xdg_surface, op::ACK_CONFIGURE, &[Arg::Uint(serial)]);
    attach(wire, surface);
    scene.fixture.until("the window", |fixture| {
        wire.exchange();
        fixture.compositor.state.shell.windows().iter().any(|window| {
            window.client == fixture.compositor.state.clients.iter().last().expect("connected").id
        })
    });
    (surface, xdg_surface)
}

/// Opens a popup of a window that takes all input, and waits until it is refused or has the
/// keyboard. Returns whether it was refused.
fn grabbing_popup(scene: &mut Scene, parent: u32, serial: u32) -> bool {
    let seat = scene.wire.bind("wl_seat");
    let positioner = positioner(scene);
    let surface = scene.surface();
    let xdg_surface = xdg_surface(scene, surface);
    let popup = popup(scene, xdg_surface, parent, positioner);
    scene.wire.send(popup, op::POPUP_GRAB, &[Arg::Uint(seat), Arg::Uint(serial)]);
    scene.wire.send(surface, op::SURFACE_COMMIT, &[]);
    let wire = &mut scene.wire;
    let focus = |fixture: &Fixture| {
        use smithay::reexports::wayland_server::Resource;
        let focus = fixture.compositor.state.keyboard_focus().expect("something has the keyboard");
        (focus.id().protocol_id(), crate::clients::client_of(&focus))
    };
    let own = scene.fixture.compositor.state.clients.iter().last().map(|connection| connection.id);
    scene.fixture.until("an answer", |fixture| {
        wire.exchange();
        wire.event(popup, event::POPUP_DONE).is_some() || focus(fixture) == (surface, own)
    });
    wire.event(popup, event::POPUP_DONE).is_some()
}

#[test]
fn popup_that_is_its_own_parent() {
    let mut scene = Scene::new();
    let surface = scene.surface();
    let own = xdg_surface(&mut scene, surface);
    let positioner = positioner(&mut scene);
    popup(&mut scene, own, own, positioner);
    let wm_base = scene.wm_base;
    let error = scene.refused();
    assert_eq!((error.object, error.code), (wm_base, INVALID_POPUP_PARENT), "{error:?}");
}

#[test]
fn popup_whose_parent_is_another_xdg_surface_of_its_own_surface() {
    let mut scene = Scene::new();
    let surface = scene.surface();
    let first = xdg_surface(&mut scene, surface);
    let second = xdg_surface(&mut scene, surface);
    let positioner = positioner(&mut scene);
    popup(&mut scene, first, second, positioner);
    let wm_base = scene.wm_base;
    assert_eq!(scene.refused().object, wm_base);
}

#[test]
fn popups_that_are_each_others_parent() {
    let mut scene = Scene::new();
    let positioner = positioner(&mut scene);
    let surfaces = [scene.surface(), scene.surface()];
    let [one, two] = surfaces.map(|surface| xdg_surface(&mut scene, surface));
    popup(&mut scene, one, two, positioner);
    popup(&mut scene, two, one, positioner);
    let wm_base = scene.wm_base;
    let error = scene.refused();
    assert_eq!((error.object, error.code), (wm_base, INVALID_POPUP_PARENT), "{error:?}");
}

#[test]
fn popups_are_nested_at_most_32_levels_deep() {
    let mut scene = Scene::new();
    let positioner = positioner(&mut scene);
    let (_, mut parent, _) = toplevel(&mut scene);
    for _ in 0..40 {
        let surface = scene.surface();
        let next = xdg_surface(&mut scene, surface);
        popup(&mut scene, next, parent, positioner);
        parent = next;
    }
    assert_eq!(scene.refused().code, INVALID_POPUP_PARENT);
}

#[test]
fn pool_without_bytes() {
    for size in [0, -1, i32::MIN] {
        let mut scene = Scene::new();
        let pool = pool(&mut scene.wire, 4096);
        scene.wire.send(pool, op::POOL_RESIZE, &[Arg::Int(size)]);
        let error = scene.refused();
        assert_eq!((error.object, error.code), (pool, INVALID_FD), "{size}: {error:?}");
    }
}

#[test]
fn null_string() {
    let mut scene = Scene::new();
    let (_, _, toplevel) = toplevel(&mut scene);
    scene.wire.send(toplevel, op::TOPLEVEL_SET_TITLE, &[Arg::Null]);
    assert_eq!(scene.refused().code, INVALID_METHOD);
}

#[test]
fn global_without_an_interface_name() {
    let mut scene = Scene::new();
    let name = scene.wire.global_name("wl_compositor").expect("announced");
    let id = scene.wire.id();
    scene.wire.send(2, 0, &[Arg::Uint(name), Arg::Null, Arg::Uint(1), Arg::Uint(id)]);
    assert_eq!(scene.refused().code, INVALID_METHOD);
}

#[test]
fn subsurface_above_itself() {
    let mut scene = Scene::new();
    let subcompositor = scene.wire.bind("wl_subcompositor");
    let (parent, child) = (scene.surface(), scene.surface());
    let args = [Arg::Uint(child), Arg::Uint(parent)];
    let subsurface = scene.wire.create(subcompositor, op::GET_SUBSURFACE, &args);
    // Above its parent is allowed.
    scene.wire.send(subsurface, op::SUBSURFACE_PLACE_ABOVE, &[Arg::Uint(parent)]);
    scene.wire.send(subsurface, op::SUBSURFACE_PLACE_ABOVE, &[Arg::Uint(child)]);
    let error = scene.refused();
    assert_eq!((error.object, error.code), (subsurface, BAD_SURFACE), "{error:?}");
}

#[test]
fn subsurfaces_are_nested_at_most_64_levels_deep() {
    let mut scene = Scene::new();
    let subcompositor = scene.wire.bind("wl_subcompositor");
    let mut parent = scene.surface();
    for _ in 0..70 {
        let child = scene.surface();
        let args = [Arg::Uint(child), Arg::Uint(parent)];
        scene.wire.create(subcompositor, op::GET_SUBSURFACE, &args);
        scene.wire.send(child, op::SURFACE_COMMIT, &[]);
        parent = child;
    }
    let error = scene.refused();
    assert_eq!((error.object, error.code), (subcompositor, BAD_SURFACE), "{error:?}");
}

/// A popup that takes all input gets what is typed, so the user must have pressed something in its
/// program.
#[test]
fn popup_grab_without_a_press_is_refused() {
    let mut scene = Scene::new();
    let parent = window(&mut scene);
    for serial in [0, 1, u32::MAX] {
        assert!(grabbing_popup(&mut scene, parent, serial), "serial {serial}");
    }
    scene.survives();
}

#[test]
fn popup_grab_after_a_press_gets_the_keyboard() {
    let mut scene = Scene::new();
    let parent = window(&mut scene);
    let state = &mut scene.fixture.compositor.state;
    let own = state.clients.iter().last().expect("connected").id;
    state.input.presses.push(7.into(), own);
    assert!(!grabbing_popup(&mut scene, parent, 7));
}

/// The window is hidden by that of another program, which has the keyboard.
#[test]
fn popup_grab_of_a_hidden_window_is_refused() {
    let mut scene = Scene::new();
    let parent = window(&mut scene);
    let state = &mut scene.fixture.compositor.state;
    let own = state.clients.iter().last().expect("connected").id;
    state.input.presses.push(7.into(), own);
    scene.other.open("victim", 0x00ff_0000, None);
    let other = &mut scene.other;
    scene.fixture.until("the other window", |fixture| {
        other.poll();
        fixture.middle("HEADLESS-1") == 0x00ff_0000
    });
    assert!(grabbing_popup(&mut scene, parent, 7));
    let focus = scene.fixture.compositor.state.keyboard_focus().expect("the victim");
    assert_ne!(crate::clients::client_of(&focus), Some(own));
}

/// Built from the leaf up: the depth of the new child counts too.
#[test]
fn subsurfaces_nested_from_below() {
    let mut scene = Scene::new();
    let subcompositor = scene.wire.bind("wl_subcompositor");
    let mut child = scene.surface();
    for _ in 0..70 {
        let parent = scene.surface();
        let args = [Arg::Uint(child), Arg::Uint(parent)];
        scene.wire.create(subcompositor, op::GET_SUBSURFACE, &args);
        child = parent;
    }
    assert_eq!(scene.refused().code, BAD_SURFACE);
}

/// A touchscreen, or a mouse that is pulled at the wrong moment.
#[test]
fn cursor_shape_without_a_pointer() {
    let mut scene = Scene::new();
    let (seat, manager) = (scene.wire.bind("wl_seat"), scene.wire.bind("wp_cursor_shape_manager_v1"));
    let pointer = scene.wire.create(seat, op::GET_POINTER, &[]);
    scene.wire.create(manager, op::SHAPE_GET_POINTER, &[Arg::Uint(pointer)]);
    scene.survives();
}

#[test]
fn cursor_shape_of_a_pulled_mouse() {
    let mut scene = Scene::new();
    scene.fixture.compositor.state.seat.add_pointer();
    let (seat, manager) = (scene.wire.bind("wl_seat"), scene.wire.bind("wp_cursor_shape_manager_v1"));
    let pointer = scene.wire.create(seat, op::GET_POINTER, &[]);
    scene.wire.exchange();
    scene.fixture.run_for(Duration::from_millis(20));
    scene.fixture.compositor.state.seat.remove_pointer();
    scene.wire.create(manager, op::SHAPE_GET_POINTER, &[Arg::Uint(pointer)]);
    scene.survives();
}

#[test]
fn more_windows_than_one_client_may_have() {
    let mut scene = Scene::with("[clients.objects]\nwindows = 5\n");
    for _ in 0..6 {
        toplevel(&mut scene);
    }
    let error = scene.refused();
    assert_eq!((error.object, error.code), (1, NO_MEMORY), "{error:?}");
    assert!(error.message.contains("windows"), "{error:?}");
}

/// Each object alone is cheap; the limits are for those who create without end.
#[test]
fn more_objects_than_one_client_may_have() {
    for (config, key) in [("surfaces = 50", "surfaces"), ("objects = 50", "objects")] {
        let mut scene = Scene::with(&format!("[clients.objects]\n{config}\n"));
        for _ in 0..60 {
            scene.surface();
        }
        let error = scene.refused();
        assert_eq!((error.object, error.code), (1, NO_MEMORY), "{error:?}");
        assert!(error.message.contains(key), "{error:?}");
    }
}

/// Each would get events for each change of the clipboard.
#[test]
fn more_data_devices_than_one_client_may_have() {
    for manager in ["wl_data_device_manager", "zwp_primary_selection_device_manager_v1"] {
        let mut scene = Scene::with("[clients.objects]\ndata_devices = 5\n");
        let (seat, manager) = (scene.wire.bind("wl_seat"), scene.wire.bind(manager));
        for _ in 0..6 {
            scene.wire.create(manager, op::GET_DATA_DEVICE, &[Arg::Uint(seat)]);
        }
        let error = scene.refused();
        assert_eq!((error.object, error.code), (1, NO_MEMORY), "{error:?}");
        assert!(error.message.contains("data_devices"), "{error:?}");
    }
}

/// The limit of all objects is libwayland's to hold, and must be passed on to it.
#[test]
fn limit_of_objects_after_a_reload() {
    let mut scene = Scene::with("[clients.objects]\nobjects = 5000\n");
    let config = "[headless]\ndisplays = [\"800x600\"]\n[clients.objects]\nobjects = 50\n";
    std::fs::write(scene.fixture.config_path(), config).expect("a file");
    scene.fixture.compositor.state.reload();
    for _ in 0..60 {
        scene.surface();
    }
    let error = scene.refused();
    assert_eq!((error.object, error.code), (1, NO_MEMORY), "{error:?}");
}

/// Surfaces that are destroyed are not counted any more.
#[test]
fn many_surfaces_one_after_the_other() {
    let mut scene = Scene::with("[clients.objects]\nsurfaces = 50\n");
    for _ in 0..500 {
        let surface = scene.surface();
        scene.wire.send(surface, 0, &[]);
        scene.wire.exchange();
        scene.fixture.iterate();
    }
    scene.survives();
}

#[test]
fn region_of_too_many_rectangles() {
    let mut scene = Scene::with("[clients.objects]\nregion_rectangles = 100\n");
    let region = scene.wire.create(scene.compositor, op::CREATE_REGION, &[]);
    for x in 0..101 {
        scene.wire.send(region, op::REGION_ADD, &[Arg::Int(x * 2), Arg::Int(0), Arg::Int(1), Arg::Int(1)]);
    }
    let error = scene.refused();
    assert_eq!((error.object, error.code), (1, NO_MEMORY), "{error:?}");
}

/// Descriptors that no request takes.
#[test]
fn flood_of_descriptors() {
    let mut scene = Scene::new();
    let count = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = count();
    let file = memfd(1);
    let files = [file.as_fd(); 28];
    let mut most = 0;
    for _ in 0..200 {
        let callback = scene.wire.id();
        let sync = Wire::request(1, 0, &[Arg::Uint(callback)]);
        let _ = scene.wire.try_send(&sync[..4], &files);
        scene.fixture.iterate();
        most = most.max(count());
        if scene.wire.is_closed {
            break;
        }
        let _ = scene.wire.try_send(&sync[4..], &[]);
        scene.wire.exchange();
    }
    assert!(most < before + 1200, "{most} descriptors, {before} before");
    scene.wire.exchange();
    assert!(scene.wire.is_closed, "it is disconnected");
    scene.is_served();
}

/// Rectangles of negative size are empty; the protocol has no error for them.
#[test]
fn negative_sizes_of_regions_and_damage() {
    let mut scene = Scene::new();
    let region = scene.wire.create(scene.compositor, op::CREATE_REGION, &[]);
    let surface = scene.surface();
    for (width, height) in [(-1, 1), (1, i32::MIN)] {
        let args = [Arg::Int(0), Arg::Int(0), Arg::Int(width), Arg::Int(height)];
        scene.wire.send(region, op::REGION_ADD, &args);
        scene.wire.send(region, op::REGION_SUBTRACT, &args);
        scene.wire.send(surface, op::SURFACE_DAMAGE, &args);
        scene.wire.send(surface, op::SURFACE_DAMAGE_BUFFER, &args);
    }
    scene.survives();
}

#[test]
fn negative_sizes_of_windows() {
    let requests: [(u16, &[i32], u32); 3] = [
        (op::XDG_SURFACE_SET_GEOMETRY, &[0, 0, 1, -1], 5),
        (op::TOPLEVEL_SET_MIN_SIZE, &[-1, 1], 2),
        (op::TOPLEVEL_SET_MAX_SIZE, &[1, i32::MIN], 2),
    ];
    for (opcode, numbers, code) in requests {
        let mut scene = Scene::new();
        let (_, xdg_surface, toplevel) = toplevel(&mut scene);
        let object = if opcode == op::XDG_SURFACE_SET_GEOMETRY { xdg_surface } else { toplevel };
        let args: Vec<Arg<'_>> = numbers.iter().map(|number| Arg::Int(*number)).collect();
        scene.wire.send(object, opcode, &args);
        let error = scene.refused();
        assert_eq!((error.object, error.code), (object, code), "{error:?}");
    }
}

#[test]
fn negative_size_of_a_popups_parent() {
    let mut scene = Scene::new();
    let positioner = positioner(&mut scene);
    scene.wire.send(positioner, op::POSITIONER_SET_PARENT_SIZE, &[Arg::Int(-1), Arg::Int(1)]);
    assert_eq!(scene.refused().object, positioner);
}

#[test]
fn layer_of_a_size_that_no_number_has() {
    let mut scene = Scene::new();
    let shell = scene.wire.bind("zwlr_layer_shell_v1");
    let surface = scene.surface();
    let rest = [Arg::Uint(surface), Arg::Null, Arg::Uint(2), Arg::Text("test")];
    let layer = scene.wire.create(shell, op::GET_LAYER_SURFACE, &rest);
    scene.wire.send(layer, op::LAYER_SET_SIZE, &[Arg::Uint(1), Arg::Uint(1 << 31)]);
    assert_eq!(scene.refused().object, layer);
}
