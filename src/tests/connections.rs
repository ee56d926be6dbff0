//! Connections end to end: heartbeats, limits, the control protocol.

use std::io::Write;

use geom_ipc::{CloseReason, ConnectionState, ErrorKind, Event, ReplyResult, Request, Response, MAX_LINE};
use serde_json::json;

use super::control::Control;
use super::{Fixture, TestClient};
use crate::clients::saved_state::StateFile;
use crate::session::fd_store::FdStore;

const RED: u32 = 0x00ff_0000;
const FIRST: &str = "HEADLESS-1";
const SECOND: &str = "HEADLESS-2";
/// Heartbeats that are fast enough for tests.
const FAST: &str = "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n\
     [clients]\ninterval = 0.2\nunresponsive = 0.2\nlost = 0.6\nclose_time = 0.2\n";

/// Connects a client, opens a window and waits until it is shown.
fn window(fixture: &mut Fixture, app_id: &str, color: u32, on: Option<&str>) -> TestClient {
    let mut client = fixture.client();
    fixture.until("outputs", |_| {
        client.poll();
        client.has_outputs(client.outputs().len())
    });
    client.open(app_id, color, on);
    let display = on.unwrap_or(FIRST).to_owned();
    fixture.until("the window", |fixture| {
        client.poll();
        fixture.middle(&display) == color
    });
    client
}

fn state_is(wanted: ConnectionState) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::ClientState { client } if client.state == wanted)
}

#[test]
fn unresponsive_client_is_covered_until_it_answers() {
    let mut fixture = Fixture::new(FAST);
    let mut control = Control::greeted(&mut fixture, json!({}));
    control.request(&mut fixture, Request::Subscribe).expect("subscribed");
    let mut client = window(&mut fixture, "app", RED, None);
    // It reads nothing from here on, and so answers no ping.
    control.until_event(&mut fixture, "unresponsive", state_is(ConnectionState::Unresponsive));
    fixture.until("the overlay", |fixture| fixture.middle(FIRST) != RED);
    let window = fixture.compositor.state.unresponsive_on_display(FIRST).expect("the overlay");
    assert_eq!((window.covered.name.as_str(), window.covered.asks), ("app", true));
    // The default policy is to wait: it is still there well past `lost`.
    let since = fixture.compositor.state.now();
    fixture.until("a second", |fixture| {
        control.poll();
        fixture.compositor.state.now() > since + std::time::Duration::from_secs(1)
    });
    assert_eq!(fixture.compositor.state.ipc_status().unresponsive_clients, 1);
    control.events.clear();
    fixture.until("the window without overlay", |fixture| {
        client.poll();
        control.poll();
        fixture.middle(FIRST) == RED
    });
    control.until_event(&mut fixture, "alive", state_is(ConnectionState::Alive));
    assert!(!client.disconnected);
}

#[test]
fn policy_close_disconnects_only_the_unresponsive_client() {
    let mut fixture =
        Fixture::new(&format!("{FAST}[[clients.rules]]\napp_id = \"bad*\"\non_lost = \"close\"\n"));
    let mut good = window(&mut fixture, "good", RED, Some(SECOND));
    let mut bad = window(&mut fixture, "bad-app", RED, Some(FIRST));
    fixture.until("the disconnect of the unresponsive client", |fixture| {
        good.poll();
        fixture.middle(FIRST) != RED && fixture.compositor.state.clients.len() == 1
    });
    assert!(!bad.poll() || !bad.poll());
    assert!(good.poll());
    assert_eq!(fixture.middle(SECOND), RED);
    assert_eq!(fixture.compositor.state.shell.windows().len(), 1);
}

#[test]
fn user_waits_for_an_unresponsive_client_and_then_closes_it() {
    let mut fixture = Fixture::new(FAST);
    let mut client = window(&mut fixture, "app", RED, None);
    fixture.until("the overlay", |fixture| fixture.compositor.state.unresponsive_on_display(FIRST).is_some());
    // The choices, which are below the middle, exist once the overlay was drawn.
    fixture.until("the drawn overlay", |fixture| fixture.middle(FIRST) != RED);
    let state = &mut fixture.compositor.state;
    assert!(state.press_unresponsive_overlay((370.0, 345.0).into()));
    assert!(
        !state.unresponsive_on_display(FIRST).expect("the overlay").covered.asks,
        "the user waits, and is still asked"
    );
    fixture.until("the choice again", |fixture| {
        fixture.compositor.state.unresponsive_on_display(FIRST).is_some_and(|window| window.covered.asks)
    });
    assert!(fixture.compositor.state.press_unresponsive_overlay((440.0, 345.0).into()));
    fixture.until("its disconnect", |fixture| fixture.compositor.state.clients.is_empty());
    assert!(!client.poll() || !client.poll());
}

#[test]
fn client_over_a_limit_is_refused_with_the_reason() {
    let mut fixture = Fixture::new("[clients]\nper_process = 2\n");
    let mut first = fixture.client();
    let _second = Control::greeted(&mut fixture, json!({}));
    let mut third = Control::raw(&mut fixture);
    fixture.until("a refusal", |_| {
        third.poll();
        third.closed
    });
    let Some(ReplyResult::Error(error)) = third.replies.pop().map(|reply| reply.result) else {
        panic!("no error")
    };
    assert_eq!(error.kind, ErrorKind::OverLimit);
    assert!(error.message.contains("per_process"), "{error}");
    assert!(first.poll());
    assert_eq!(fixture.compositor.state.clients.refused(), 1);
}

#[test]
fn disconnected_client_leaves_only_its_placement() {
    let mut fixture = Fixture::new(FAST);
    let client = window(&mut fixture, "app", RED, None);
    drop(client);
    fixture.until("its disconnect", |fixture| fixture.compositor.state.clients.is_empty());
    let state = &fixture.compositor.state;
    assert!(state.shell.is_empty());
    assert!(state.clients.is_quiet());
    // Its placement is saved for the next client with that app id.
    assert_eq!(state.clients.placement("app"), Some(FIRST));
}

/// Clients that are ready at the same time are dispatched in one batch; each one's xdg_wm_base and
/// pongs are noticed all the same.
#[test]
fn clients_of_one_batch_are_distinguished() {
    let mut fixture = Fixture::new(FAST);
    let mut clients: Vec<TestClient> = (0..40).map(|_| fixture.client()).collect();
    let have_all_shells = |fixture: &Fixture| {
        let mut connections = fixture.compositor.state.clients.iter();
        connections.all(|connection| !connection.needs_polling())
    };
    fixture.until("xdg_wm_base of all clients", |fixture| have_all_shells(fixture));
    // Another client binds its globals while all others send requests.
    let mut late = TestClient::new(fixture.connect());
    fixture.until("the new client's globals", |_| {
        clients.iter_mut().for_each(TestClient::send_requests);
        late.poll() && late.has_globals()
    });
    clients.iter_mut().for_each(TestClient::send_requests);
    fixture.iterate();
    assert!(have_all_shells(&fixture), "the new client's xdg_wm_base was not noticed in the batch");
    clients.push(late);
    // All but the first one answer several pings.
    let since = fixture.compositor.state.now();
    fixture.until("only the first one unresponsive", |fixture| {
        assert!(clients.iter_mut().skip(1).all(|client| client.poll()), "a client was disconnected");
        let connections = fixture.compositor.state.clients.iter();
        let unresponsive = connections.filter(|connection| connection.is_unresponsive());
        let unresponsive: Vec<u64> = unresponsive.map(|connection| connection.id.into()).collect();
        assert!(unresponsive.is_empty() || unresponsive == [1], "{unresponsive:?} are unresponsive");
        unresponsive == [1] && fixture.compositor.state.now() > since + std::time::Duration::from_secs(1)
    });
}

#[test]
fn window_of_a_disconnected_client_is_gone_in_the_next_iteration() {
    let mut fixture = Fixture::new("");
    let _client = window(&mut fixture, "app", RED, None);
    // Well after its last frame, so that nothing delays the next one.
    fixture.run_for(std::time::Duration::from_millis(100));
    let state = &mut fixture.compositor.state;
    let id = state.clients.iter().next().expect("a connection").id;
    state.disconnect(id, CloseReason::Requested);
    fixture.iterate();
    let state = &mut fixture.compositor.state;
    assert!(state.clients.is_empty() && state.pending_redraws.is_empty());
    assert_ne!(fixture.middle(FIRST), RED, "the display was not drawn again");
}

#[test]
fn requests_take_effect_and_invalid_ones_are_refused() {
    let mut fixture = Fixture::new(FAST);
    let mut control = Control::greeted(&mut fixture, json!({}));
    let mut client = window(&mut fixture, "app", RED, Some(FIRST));
    let Ok(Response::Windows(windows)) = control.request(&mut fixture, Request::Windows) else {
        panic!("no windows")
    };
    assert_eq!((windows.len(), windows[0].display.as_deref()), (1, Some(FIRST)));
    let (window, id) = (windows[0].id, windows[0].client);

    control.request(&mut fixture, Request::PlaceWindow { window, display: SECOND.into() }).expect("placed");
    fixture.until("the other display", |fixture| {
        client.poll();
        control.poll();
        fixture.middle(SECOND) == RED
    });
    let line = json!({"request": "set_display", "display": SECOND, "scale": 2.0, "transform": "90", "position": [2000, 5]});
    let Ok(Response::Displays(displays)) = control.request_json(&mut fixture, line) else {
        panic!("no displays")
    };
    let second = displays.iter().find(|display| display.name == SECOND).expect("the display");
    assert_eq!((second.scale, second.transform.as_str(), second.logical.x), (2.0, "90", 2000));
    assert_eq!((second.logical.width, second.logical.height), (240, 320));
    for (wrong, kind) in [
        (json!({"request": "set_display", "display": SECOND, "scale": 99}), ErrorKind::BadValue),
        (json!({"request": "set_display", "display": SECOND, "mode": "1x1"}), ErrorKind::BadValue),
        (json!({"request": "set_display", "display": "HDMI-A-9"}), ErrorKind::NotFound),
        (json!({"request": "focus_window", "window": 99}), ErrorKind::NotFound),
        (json!({"request": "kill", "client": 99}), ErrorKind::NotFound),
        (json!({"request": "identify", "seconds": 0}), ErrorKind::BadValue),
        (json!({"request": "dance"}), ErrorKind::UnknownRequest),
        (json!({"request": "ping", "client": "x"}), ErrorKind::BadMessage),
        (json!({"request": "hello", "versions": [1]}), ErrorKind::Handshake),
    ] {
        let error = control.request_json(&mut fixture, wrong.clone()).expect_err("an error");
        assert_eq!(error.kind, kind, "{wrong}: {error}");
    }
    control.request(&mut fixture, Request::Identify { seconds: 1 }).expect("identified");
    assert!(
        matches!(control.request(&mut fixture, Request::Status), Ok(Response::Status(status)) if status.enabled_displays == 2)
    );

    // A requested heartbeat is replied to when the client answers the ping.
    control.last_id += 1;
    let number = control.last_id;
    control.write(format!("{}\n", json!({"id": number, "request": "ping", "client": id})).as_bytes());
    fixture.until("the round trip", |_| {
        client.poll();
        control.poll();
        control.replies.iter().any(|reply| reply.id == Some(number))
    });
    assert!(control.clients(&mut fixture).iter().any(|client| client.id == id && client.rtt_us.is_some()));

    control.request(&mut fixture, Request::Disconnect { client: id }).expect("requested to close");
    // The test client ignores the request: it is disconnected at the deadline.
    fixture.until("its disconnect", |_| {
        control.poll();
        !client.poll()
    });
}

#[test]
fn screenshot_shows_the_display() {
    let mut fixture = Fixture::new(FAST);
    let _client = window(&mut fixture, "app", RED, None);
    let mut control = Control::greeted(&mut fixture, json!({}));
    let shot = |display: &str| Request::Screenshot { display: display.into() };
    let response = control.request(&mut fixture, shot(FIRST)).expect("a screenshot");
    assert_eq!(response, Response::Screenshot { width: 800, height: 600 });
    let file = std::fs::File::from(control.fds.pop().expect("a descriptor"));
    let decoder = png::Decoder::new(std::io::BufReader::new(file));
    let mut reader = decoder.read_info().expect("PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    reader.next_frame(&mut pixels).expect("pixels");
    assert_eq!(pixels[(300 * 800 + 400) * 3..][..3], [0xff, 0, 0]);
    assert!(control.request(&mut fixture, shot("HDMI-A-9")).is_err());
}

/// A client cannot make the service create a file: the service may write where the client may not.
#[test]
fn screenshot_creates_no_file() {
    let mut fixture = Fixture::new(FAST);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("shot.png");
    let mut control = Control::greeted(&mut fixture, json!({}));
    let line = json!({"request": "screenshot", "display": FIRST, "path": path});
    control.request_json(&mut fixture, line).expect("a screenshot");
    assert_eq!(control.fds.len(), 1, "the field is ignored");
    assert!(!path.exists());
}

#[test]
fn connect_type_decides_whether_a_session_is_resumed() {
    for (kind, survives) in [
        ("DISCONNECT_ONCE", vec![false]),
        ("KEEP_CONNECTION_OPEN", vec![true, true, true]),
        ("DISCONNECT_ONCE|KEEP_CONNECTION_OPEN", vec![true, false]),
    ] {
        let mut fixture = Fixture::new("[clients]\naccept_rate = 1000\n");
        let mut control = Control::raw(&mut fixture);
        let hello = json!({"request": "hello", "versions": [1], "connect_type": kind});
        let Ok(Response::Welcome(welcome)) = control.request_json(&mut fixture, hello) else {
            panic!("no welcome")
        };
        control.request(&mut fixture, Request::Subscribe).expect("subscribed");
        for survived in survives {
            drop(control);
            fixture.until("the lost connection", |fixture| {
                let mut connections = fixture.compositor.state.clients.iter();
                connections.all(|connection| connection.ipc_state() != ConnectionState::Alive)
            });
            control = Control::raw(&mut fixture);
            let hello = json!({"request": "hello", "versions": [1], "token": welcome.token});
            match control.request_json(&mut fixture, hello) {
                Ok(Response::Welcome(again)) => {
                    assert!(survived && again.resumed, "{kind}");
                    assert_eq!((again.connection, &again.token), (welcome.connection, &welcome.token));
                    // It is still subscribed.
                    control.events.clear();
                    let new_client = fixture.client();
                    control.until_event(&mut fixture, "an event", |event| {
                        matches!(event, Event::ClientConnected { .. })
                    });
                    drop(new_client);
                    fixture.until("its disconnect", |fixture| fixture.compositor.state.clients.len() == 1);
                }
                Err(error) => assert!(!survived && error.kind == ErrorKind::NotFound, "{kind}: {error}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// After a crash the service resumes sessions by token and user, and shows applications where they
/// were.
#[test]
fn sessions_and_placements_survive_a_crash() {
    let start = |mut store: FdStore| {
        let mut fixture = Fixture::new(FAST);
        let state_file = StateFile::open(&mut store).expect("memory");
        fixture.compositor.state.store = store;
        fixture.compositor.state.restore(state_file);
        fixture
    };
    let mut fixture = start(FdStore::default());
    let mut control = Control::raw(&mut fixture);
    let hello = |token: Option<String>, connect_type: &str| json!({"request": "hello", "versions": [1], "name": "test", "token": token, "connect_type": connect_type});
    let welcome = control.request_json(&mut fixture, hello(None, "KEEP_CONNECTION_OPEN"));
    let Ok(Response::Welcome(kept)) = welcome else { panic!("{welcome:?}") };
    let mut once = Control::raw(&mut fixture);
    let Ok(Response::Welcome(once)) = once.request_json(&mut fixture, hello(None, "DISCONNECT_ONCE")) else {
        panic!("no welcome")
    };
    let _app = window(&mut fixture, "app", RED, Some(SECOND));
    fixture.iterate();
    let left = fixture.compositor.state.store.inherited();
    drop(fixture);

    let mut fixture = start(left);
    let mut control = Control::raw(&mut fixture);
    let refused = control.request_json(&mut fixture, hello(Some(once.token), "DISCONNECT_ONCE"));
    assert!(refused.is_err_and(|error| error.kind == ErrorKind::NotFound));
    let welcome = control.request_json(&mut fixture, hello(Some(kept.token), "KEEP_CONNECTION_OPEN"));
    let Ok(Response::Welcome(welcome)) = welcome else { panic!("{welcome:?}") };
    assert!(welcome.resumed && welcome.connection == kept.connection);
    let known = control.clients(&mut fixture);
    assert!(known.iter().any(|client| client.id == kept.connection && client.pid > 0), "{known:?}");
    let mut app = fixture.client();
    app.open("app", RED, None);
    fixture.until("the application on its display", |fixture| app.poll() && fixture.middle(SECOND) == RED);
    // An orderly shutdown leaves nothing.
    fixture.compositor.state.discard_saved_state();
    assert_eq!(fixture.compositor.state.store.inherited().stored().count(), 0);
}

#[test]
fn control_client_that_answers_no_pings_loses_its_session() {
    let mut fixture = Fixture::new(FAST);
    let mut control = Control::greeted(&mut fixture, json!({"connect_type": "DISCONNECT_ONCE"}));
    control.answers_pings = false;
    fixture.until("the disconnect", |_| {
        control.poll();
        control.closed
    });
    assert!(control.events.iter().any(|event| matches!(event, Event::Ping { .. })));
    assert!(fixture.compositor.state.clients.is_empty());
}

#[test]
fn misbehaving_control_clients_get_an_error_and_affect_no_other() {
    let mut fixture = Fixture::new(FAST);
    let mut good = Control::greeted(&mut fixture, json!({}));

    // One that does not say hello first.
    let mut early = Control::raw(&mut fixture);
    early.write(b"{\"id\":1,\"request\":\"status\"}\n");
    fixture.until("its disconnect", |_| {
        early.poll();
        early.closed
    });
    assert!(
        matches!(&early.replies[0].result, ReplyResult::Error(error) if error.kind == ErrorKind::Handshake)
    );

    // One that stops in the middle of a line.
    let mut slow = Control::raw(&mut fixture);
    slow.write(b"{\"id\":1,\"requ");
    fixture.until("its disconnect", |_| {
        good.poll();
        slow.poll();
        slow.closed
    });
    let goodbye = Event::Goodbye { reason: CloseReason::HeartbeatTimeout };
    assert_eq!(slow.events, [goodbye]);

    // One that sends a line without an end.
    let mut endless = Control::greeted(&mut fixture, json!({}));
    let chunk = vec![b'x'; 8192];
    let mut sent = 0;
    fixture.until("its disconnect", |_| {
        good.poll();
        while sent < 4 * MAX_LINE && endless.write(&chunk) {
            sent += chunk.len();
        }
        endless.poll();
        endless.closed
    });
    assert!(sent < 4 * MAX_LINE);

    // One that sends no JSON objects, and then valid requests.
    let mut confused = Control::greeted(&mut fixture, json!({}));
    confused.write(b"\xff\xfe\x00\n[1,2\nnull\n");
    fixture.until("three errors", |_| {
        good.poll();
        confused.poll();
        confused.replies.len() == 3
    });
    assert!(matches!(confused.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
    assert!(matches!(good.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
}

#[test]
fn requests_are_not_read_while_replies_are_not() {
    let mut fixture = Fixture::new("");
    let mut control = Control::greeted(&mut fixture, json!({}));
    let line = b"{\"id\":7,\"request\":\"status\"}\n".repeat(64);
    let mut rest: &[u8] = &[];
    let mut refused_writes = 0;
    // It writes requests without reading, until the service reads none for a while.
    for _ in 0..20_000 {
        if rest.is_empty() {
            rest = &line;
        }
        match control.stream.write(rest) {
            Ok(count) => (rest, refused_writes) = (&rest[count..], 0),
            Err(_) => {
                refused_writes += 1;
                if refused_writes > 5 {
                    break;
                }
                fixture.iterate();
            }
        }
    }
    assert!(refused_writes > 5, "a million requests were read although no reply was");
    let connections = fixture.compositor.state.clients.iter();
    let queued: u64 = connections.map(|connection| connection.unread_bytes()).sum();
    assert!(queued < 2 << 20, "{queued} bytes are queued");
    // It reads, and the service goes on.
    control.write(rest);
    fixture.until("every reply", |_| {
        control.poll();
        control.replies.len() > 100
    });
    let mut other = Control::greeted(&mut fixture, json!({}));
    assert!(matches!(other.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
}

/// A change that is not confirmed is rolled back to the last confirmed state.
#[test]
fn set_display_is_rolled_back_when_not_confirmed() {
    let mut fixture = Fixture::pair();
    let mut control = Control::greeted(&mut fixture, json!({}));
    let scale =
        |fixture: &Fixture| fixture.compositor.state.outputs.named(FIRST).map(|output| output.state().scale);
    let set = |fixture: &mut Fixture, control: &mut Control, factor: f64, within: Option<u32>| {
        let change = geom_ipc::DisplayChange { scale: Some(factor), ..Default::default() };
        let request =
            Request::SetDisplay { display: FIRST.into(), change: Box::new(change), confirm_within: within };
        control.request(fixture, request).map(|_| ())
    };
    set(&mut fixture, &mut control, 1.5, None).expect("set");
    set(&mut fixture, &mut control, 2.0, Some(600)).expect("set");
    set(&mut fixture, &mut control, 3.0, Some(1)).expect("set");
    assert_eq!(scale(&fixture), Some(3.0));
    fixture.until("the state before both changes", |fixture| {
        fixture.compositor.state.outputs.named(FIRST).map(|output| output.state().scale) == Some(1.5)
    });
    let confirm = |keep: bool| Request::ConfirmDisplay { display: FIRST.into(), keep };
    let error = control.request(&mut fixture, confirm(true)).expect_err("nothing to confirm");
    assert_eq!(error.kind, ErrorKind::NotFound);
    set(&mut fixture, &mut control, 2.0, Some(600)).expect("set");
    control.request(&mut fixture, confirm(false)).expect("rolled back");
    assert_eq!(scale(&fixture), Some(1.5));
    set(&mut fixture, &mut control, 2.0, Some(600)).expect("set");
    control.request(&mut fixture, confirm(true)).expect("kept");
    assert_eq!(scale(&fixture), Some(2.0));
    let error = set(&mut fixture, &mut control, 2.0, Some(0)).expect_err("no time to confirm");
    assert_eq!(error.kind, ErrorKind::BadValue);
}
