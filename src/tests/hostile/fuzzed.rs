//! What the fuzz target `wayland` found. Each test ended the process before the fix.

use std::sync::Arc;

use smithay::backend::input::ButtonState;
use smithay::reexports::wayland_server::protocol::wl_seat::WlSeat;
use smithay::reexports::wayland_server::Resource;
use smithay::wayland::seat::WaylandFocus;

use super::*;

/// xdg_positioner.error.invalid_input
const INVALID_INPUT: u32 = 0;

/// Smithay adds these numbers, which overflows.
#[test]
fn places_of_popups_that_no_number_has() {
    let requests: [(u16, &[i32]); 4] = [
        (op::POSITIONER_SET_SIZE, &[i32::MAX, 1]),
        (op::POSITIONER_SET_ANCHOR_RECT, &[i32::MAX, 0, i32::MAX, 1]),
        (op::POSITIONER_SET_OFFSET, &[0, i32::MIN]),
        (op::POSITIONER_SET_PARENT_SIZE, &[i32::MAX, i32::MAX]),
    ];
    for (opcode, numbers) in requests {
        let mut scene = Scene::new();
        let (_, parent, _) = toplevel(&mut scene);
        let positioner = positioner(&mut scene);
        let args: Vec<Arg<'_>> = numbers.iter().map(|number| Arg::Int(*number)).collect();
        scene.wire.send(positioner, opcode, &args);
        let surface = scene.surface();
        let own = xdg_surface(&mut scene, surface);
        popup(&mut scene, own, parent, positioner);
        let error = scene.refused();
        assert_eq!((error.object, error.code), (positioner, INVALID_INPUT), "{numbers:?}: {error:?}");
    }
}

#[test]
fn window_geometry_that_no_number_has() {
    let mut scene = Scene::new();
    let (_, xdg_surface, _) = toplevel(&mut scene);
    let args = [i32::MAX, 0, i32::MAX, 1].map(Arg::Int);
    scene.wire.send(xdg_surface, op::XDG_SURFACE_SET_GEOMETRY, &args);
    assert_eq!(scene.refused().object, xdg_surface);
}

/// libwayland destroys the window before the popup that has the keyboard, whose surface and
/// wl_keyboard are still there when the focus moves.
#[test]
fn end_of_a_client_whose_popup_has_the_keyboard() {
    let mut scene = Scene::new();
    let parent = window(&mut scene);
    let state = &mut scene.fixture.compositor.state;
    let own = state.clients.iter().last().expect("connected").id;
    state.input.presses.push(7.into(), own);
    assert!(!grabbing_popup(&mut scene, parent, 7));
    let seat = scene.wire.bind("wl_seat");
    scene.wire.create(seat, op::GET_KEYBOARD, &[]);
    scene.wire.exchange();
    scene.fixture.iterate();
    let Scene { mut fixture, wire, mut other, .. } = scene;
    drop(wire);
    fixture.until("the end of the client", |fixture| {
        other.poll();
        fixture.compositor.state.clients.iter().all(|connection| connection.id != own)
    });
    assert!(fixture.compositor.state.keyboard_focus().is_none());
    assert!(other.poll(), "the other client is still connected");
}

/// An error that a timer posts, with requests in the socket: wayland-server panics if the first of
/// them binds a global.
#[test]
fn bind_after_an_error_that_answers_no_request() {
    let mut scene = Scene::new();
    window(&mut scene);
    scene.wire.exchange();
    scene.fixture.iterate();
    scene.wire.bind("wl_seat");
    scene.wire.exchange();
    let windows = scene.fixture.compositor.state.shell.windows();
    let toplevel = windows.iter().find_map(|window| window.handle.toplevel()).expect("the window");
    toplevel.xdg_toplevel().post_error(1u32, "a test");
    assert_eq!(scene.refused().code, 1);
}

/// Nested positions are added up. The protocol has no error for them.
#[test]
fn places_of_subsurfaces_that_no_number_has() {
    let mut scene = Scene::new();
    let (root, _) = shown_window(&mut scene);
    let subcompositor = scene.wire.bind("wl_subcompositor");
    let mut parents = vec![root];
    for _ in 0..3 {
        let (child, parent) = (scene.surface(), *parents.last().expect("one"));
        let args = [Arg::Uint(child), Arg::Uint(parent)];
        let subsurface = scene.wire.create(subcompositor, op::GET_SUBSURFACE, &args);
        scene.wire.send(subsurface, op::SUBSURFACE_SET_POSITION, &[i32::MAX, i32::MAX].map(Arg::Int));
        attach(&mut scene.wire, child);
        parents.push(child);
    }
    for parent in parents.iter().rev() {
        scene.wire.send(*parent, op::SURFACE_COMMIT, &[]);
    }
    scene.survives();
}

/// Margins are added to places, and exclusive zones are subtracted from sizes.
#[test]
fn margins_and_zones_of_layers_that_no_number_has() {
    let mut scene = Scene::new();
    let (shell, surface) = (scene.wire.bind("zwlr_layer_shell_v1"), scene.surface());
    let rest = [Arg::Uint(surface), Arg::Null, Arg::Uint(2), Arg::Text("test")];
    let layer = scene.wire.create(shell, op::GET_LAYER_SURFACE, &rest);
    // At the top left.
    scene.wire.send(layer, op::LAYER_SET_ANCHOR, &[Arg::Uint(1 | 4)]);
    scene.wire.send(layer, op::LAYER_SET_MARGIN, &[i32::MAX, i32::MAX, i32::MAX, i32::MAX].map(Arg::Int));
    scene.wire.send(layer, op::LAYER_SET_EXCLUSIVE_ZONE, &[Arg::Int(i32::MAX)]);
    scene.wire.send(layer, op::LAYER_SET_SIZE, &[Arg::Uint(9), Arg::Uint(9)]);
    scene.wire.send(surface, op::SURFACE_COMMIT, &[]);
    let wire = &mut scene.wire;
    scene.fixture.until("the configure event", |_| {
        wire.exchange();
        wire.event(layer, event::LAYER_CONFIGURE).is_some()
    });
    let serial = wire.event(layer, event::LAYER_CONFIGURE).and_then(|event| event.first_chunk());
    let serial = u32::from_ne_bytes(*serial.expect("a serial"));
    wire.send(layer, op::LAYER_ACK_CONFIGURE, &[Arg::Uint(serial)]);
    attach(wire, surface);
    scene.survives();
}

/// A client that pastes is sent all types in one go, and its socket cannot take them.
#[test]
fn source_of_too_many_types() {
    let sources = [
        ("wl_data_device_manager", op::CREATE_DATA_SOURCE),
        ("zwp_primary_selection_device_manager_v1", op::CREATE_DATA_SOURCE),
    ];
    for (manager, create) in sources {
        let mut scene = Scene::new();
        let manager = scene.wire.bind(manager);
        let source = scene.wire.create(manager, create, &[]);
        let long = "a".repeat(1000);
        for _ in 0..40 {
            scene.wire.send(source, op::SOURCE_OFFER, &[Arg::Text(&long)]);
        }
        let error = scene.refused();
        assert_eq!((error.object, error.code), (1, NO_MEMORY), "{error:?}");
    }
}

/// A drag takes the pointer from all others, so the press that starts it must be the client's own.
#[test]
fn drag_from_a_press_in_another_client_is_refused() {
    let mut scene = Scene::new();
    window(&mut scene);
    scene.other.open("victim", 0x00ff_0000, None);
    let other = &mut scene.other;
    scene.fixture.until("the other window", |fixture| {
        other.poll();
        fixture.middle("HEADLESS-1") == 0x00ff_0000
    });
    let state = &mut scene.fixture.compositor.state;
    state.seat.add_pointer();
    state.pointer_moved((400.0, 300.0).into(), 1, None);
    state.button(0x110, ButtonState::Pressed, 2);
    let pointer = state.seat.get_pointer().expect("a pointer");
    let serial = pointer.grab_start_data().is_some().then(|| state.input.presses.last()).flatten();
    let serial = serial.expect("the victim's press");
    let (seat, manager) = (scene.wire.bind("wl_seat"), scene.wire.bind("wl_data_device_manager"));
    let device = scene.wire.create(manager, op::GET_DATA_DEVICE, &[Arg::Uint(seat)]);
    let source = scene.wire.create(manager, op::CREATE_DATA_SOURCE, &[]);
    let origin = scene.surface();
    let args = [Arg::Uint(source), Arg::Uint(origin), Arg::Null, Arg::Uint(serial.into())];
    scene.wire.send(device, op::START_DRAG, &args);
    scene.wire.exchange();
    scene.fixture.run_for(Duration::from_millis(20));
    let state = &mut scene.fixture.compositor.state;
    let focus = state.seat.get_pointer().expect("a pointer").current_focus();
    assert!(focus.is_some(), "the victim has the pointer still");
    scene.survives();
}

/// pixman does not take such an image, and says so on stderr.
#[test]
fn buffers_whose_rows_start_in_the_middle_of_a_pixel() {
    // wl_shm.error.invalid_stride
    const INVALID_STRIDE: u32 = 1;
    for (offset, stride) in [(0, 6), (2, 8)] {
        let mut scene = Scene::new();
        let pool = pool(&mut scene.wire, 64);
        let numbers = [offset, 1, 1, stride, 1].map(Arg::Int);
        scene.wire.create(pool, op::POOL_CREATE_BUFFER, &numbers);
        let error = scene.refused();
        assert_eq!((error.object, error.code), (pool, INVALID_STRIDE), "{error:?}");
    }
}

/// Smithay keeps what a client did not release, and goes through all of it for each change of
/// focus.
#[test]
fn devices_of_an_ended_client_are_freed() {
    for manager in ["wl_data_device_manager", "zwp_primary_selection_device_manager_v1"] {
        let mut scene = Scene::new();
        window(&mut scene);
        let device = |wire: &mut Wire| {
            let (seat, manager) = (wire.bind("wl_seat"), wire.bind(manager));
            wire.create(manager, op::GET_DATA_DEVICE, &[Arg::Uint(seat)]);
            wire.exchange();
            seat
        };
        let seat = device(&mut scene.wire);
        scene.fixture.run_for(Duration::from_millis(5));
        let state = &scene.fixture.compositor.state;
        let surface = state.shell.windows().iter().find_map(|window| window.handle.wl_surface());
        let client = surface.and_then(|surface| surface.client()).expect("connected");
        // The device keeps the seat's object.
        let seat: WlSeat = client.object_from_protocol_id(&state.display_handle, seat).expect("bound");
        let data = Arc::downgrade(seat.object_data().expect("managed"));
        drop((seat, client));
        let Scene { mut fixture, wire, .. } = scene;
        drop(wire);
        let mut next = Wire::new(fixture.connect()).expect("a socket");
        fixture.until("the end of the client, and globals", |fixture| {
            next.exchange();
            next.has_global("wl_seat") && fixture.compositor.state.shell.windows().is_empty()
        });
        device(&mut next);
        fixture.until("no seat of the ended client", |_| {
            next.exchange();
            data.upgrade().is_none()
        });
    }
}
