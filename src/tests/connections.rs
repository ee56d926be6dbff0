//! Connections end to end: heartbeats, limits, the control protocol.

use std::io::Write;
use std::os::unix::net::UnixStream;

use geom_ipc::{
    ClientKind, CloseReason, ConnectionState, ErrorKind, Event, ReplyResult, Request, Response, MAX_LINE,
};
use serde_json::json;

use super::control_client::Control;
use super::{Fixture, TestClient};
use crate::clients::saved_state::StateFile;
use crate::session::fd_store::FdStore;

const RED: u32 = 0x00ff_0000;
const FIRST: &str = "HEADLESS-1";
const SECOND: &str = "HEADLESS-2";
/// Heartbeats fast enough for tests; nothing in them waits longer than for events.
const FAST: &str = "[headless]\ndisplays = [\"800x600\", \"640x480\"]\n\
     [clients]\ninterval = 0.2\nunresponsive = 0.2\nlost = 0.6\nclose_time = 0.2\n";

/// Opens a window and waits for its picture.
fn window(fixture: &mut Fixture, app_id: &str, color: u32, on: Option<&str>) -> TestClient {
    let mut client = fixture.client();
    fixture.until("outputs", |_| {
        client.turn();
        client.has_outputs(client.outputs().len())
    });
    client.open(app_id, color, on);
    let display = on.unwrap_or(FIRST).to_owned();
    fixture.until("the picture", |fixture| {
        client.turn();
        fixture.middle(&display) == color
    });
    client
}

fn state_is(wanted: ConnectionState) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::ClientState { client } if client.state == wanted)
}

#[test]
fn a_hung_client_is_shown_and_forgiven() {
    let mut fixture = Fixture::new(FAST);
    let mut control = Control::greeted(&mut fixture, json!({}));
    control.ask(&mut fixture, Request::Subscribe).expect("subscribed");
    let mut client = window(&mut fixture, "app", RED, None);
    // It reads nothing from here on.
    control.until_event(&mut fixture, "unresponsive", state_is(ConnectionState::Unresponsive));
    fixture.until("the veil", |fixture| fixture.middle(FIRST) != RED);
    let hung = fixture.compositor.state.unresponsive_on_display(FIRST).expect("a notice");
    assert_eq!((hung.name.as_str(), hung.asks), ("app", true));
    // The policy waits: well past `lost` it is there still.
    let since = fixture.compositor.state.now();
    fixture.until("its time", |fixture| {
        control.turn();
        fixture.compositor.state.now() > since + std::time::Duration::from_secs(1)
    });
    assert_eq!(fixture.compositor.state.ipc_status().unresponsive_clients, 1);
    control.events.clear();
    fixture.until("forgiveness", |fixture| {
        client.turn();
        control.turn();
        fixture.middle(FIRST) == RED
    });
    control.until_event(&mut fixture, "alive", state_is(ConnectionState::Alive));
    assert!(!client.disconnected);
}

#[test]
fn a_hung_client_is_closed_by_policy_and_its_neighbour_is_not() {
    let mut fixture =
        Fixture::new(&format!("{FAST}[[clients.rules]]\napp_id = \"bad*\"\non_lost = \"close\"\n"));
    let mut good = window(&mut fixture, "good", RED, Some(SECOND));
    let mut bad = window(&mut fixture, "bad-app", RED, Some(FIRST));
    fixture.until("the end of the hung one", |fixture| {
        good.turn();
        fixture.middle(FIRST) != RED && fixture.compositor.state.clients.len() == 1
    });
    assert!(!bad.turn() || !bad.turn());
    assert!(good.turn());
    assert_eq!(fixture.middle(SECOND), RED);
    assert_eq!(fixture.compositor.state.shell.windows.len(), 1);
}

#[test]
fn a_person_chooses() {
    let mut fixture = Fixture::new(FAST);
    let mut client = window(&mut fixture, "app", RED, None);
    fixture.until("the notice", |fixture| fixture.compositor.state.unresponsive_on_display(FIRST).is_some());
    // The notice's words were drawn with the last frame; its choices are below the middle.
    fixture.until("the veil", |fixture| fixture.middle(FIRST) != RED);
    let state = &mut fixture.compositor.state;
    assert!(state.press_unresponsive_overlay((370.0, 345.0).into()));
    assert!(!state.unresponsive_on_display(FIRST).expect("hung still").asks, "a person waits, and is asked still");
    fixture.until("the question again", |fixture| {
        fixture.compositor.state.unresponsive_on_display(FIRST).is_some_and(|hung| hung.asks)
    });
    assert!(fixture.compositor.state.press_unresponsive_overlay((440.0, 345.0).into()));
    fixture.until("its end", |fixture| fixture.compositor.state.clients.is_empty());
    assert!(!client.turn() || !client.turn());
}

#[test]
fn limits_refuse_the_newcomer_with_a_reason() {
    let mut fixture = Fixture::new("[clients]\nper_process = 2\n");
    let mut first = fixture.client();
    let _second = Control::greeted(&mut fixture, json!({}));
    let mut third = Control::raw(&mut fixture);
    fixture.until("a refusal", |_| {
        third.turn();
        third.broken
    });
    let Some(ReplyResult::Error(error)) = third.replies.pop().map(|reply| reply.result) else {
        panic!("no reason")
    };
    assert_eq!(error.kind, ErrorKind::OverLimit);
    assert!(error.message.contains("per_process"), "{error}");
    assert!(first.turn());
    assert_eq!(fixture.compositor.state.clients.refused(), 1);
}

#[test]
fn nothing_of_a_gone_client_stays() {
    let mut fixture = Fixture::new(FAST);
    let client = window(&mut fixture, "app", RED, None);
    drop(client);
    fixture.until("its end", |fixture| fixture.compositor.state.clients.is_empty());
    let state = &fixture.compositor.state;
    assert!(state.shell.windows.is_empty() && state.shell.unmapped.is_empty());
    assert!(state.clients.is_quiet());
    // Its place is kept for an application of that name.
    assert_eq!(state.clients.placement("app"), Some(FIRST));
}

/// Many that are ready at once are read at once: each is known, asked and believed all the same.
#[test]
fn a_crowd_is_known_one_by_one() {
    let mut fixture = Fixture::new(FAST);
    let mut crowd: Vec<TestClient> = (0..40).map(|_| fixture.client()).collect();
    let is_everyone_known = |fixture: &Fixture| {
        fixture.compositor.state.clients.iter().all(|record| !record.needs_polling())
    };
    fixture.until("everyone's shell", |fixture| is_everyone_known(fixture));
    // A new_client binds its globals while everyone else says something.
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    ours.set_nonblocking(true).expect("a socket option");
    fixture.compositor.state.new_client(ours, ClientKind::Wayland, None).expect("accepted");
    let mut late = TestClient::new(theirs);
    fixture.until("the new_client's globals", |_| {
        crowd.iter_mut().for_each(TestClient::send_requests);
        late.turn() && late.has_globals()
    });
    crowd.iter_mut().for_each(TestClient::send_requests);
    fixture.turn();
    assert!(is_everyone_known(&fixture), "a new_client's shell went unnoticed in the crowd");
    crowd.push(late);
    // All but one answer, for some rounds.
    let since = fixture.compositor.state.now();
    fixture.until("the deaf one", |fixture| {
        assert!(crowd.iter_mut().skip(1).all(|client| client.turn()), "one of the crowd was cut");
        let connections = fixture.compositor.state.clients.iter();
        let hung: Vec<u64> =
            connections.filter(|one| one.is_unresponsive()).map(|one| one.id.into()).collect();
        assert!(hung.is_empty() || hung == [1], "{hung:?} do not answer");
        hung == [1] && fixture.compositor.state.now() > since + std::time::Duration::from_secs(1)
    });
}

#[test]
fn a_cut_client_s_picture_goes_at_once() {
    let mut fixture = Fixture::new("");
    let _client = window(&mut fixture, "app", RED, None);
    // Well after its last frame: what there is to draw then is drawn in the same turn.
    let since = fixture.compositor.state.now();
    fixture.until("a still display", |fixture| {
        fixture.compositor.state.now() > since + std::time::Duration::from_millis(100)
    });
    let state = &mut fixture.compositor.state;
    let id = state.clients.iter().next().expect("a connection").id;
    state.disconnect(id, CloseReason::Requested);
    state.after_dispatch();
    assert!(state.clients.is_empty() && state.pending_redraws.is_empty());
    assert_ne!(fixture.middle(FIRST), RED, "it is drawn only when something else happens");
}

#[test]
fn requests_of_every_kind() {
    let mut fixture = Fixture::new(FAST);
    let mut control = Control::greeted(&mut fixture, json!({}));
    let mut client = window(&mut fixture, "app", RED, Some(FIRST));
    let Ok(Response::Windows(windows)) = control.ask(&mut fixture, Request::Windows) else {
        panic!("no windows")
    };
    assert_eq!((windows.len(), windows[0].display.as_deref()), (1, Some(FIRST)));
    let (window, id) = (windows[0].id, windows[0].client);

    control.ask(&mut fixture, Request::PlaceWindow { window, display: SECOND.into() }).expect("placed");
    fixture.until("the other display", |fixture| {
        client.turn();
        control.turn();
        fixture.middle(SECOND) == RED
    });
    let line = json!({"request": "set_display", "display": SECOND, "scale": 2.0, "transform": "90", "position": [2000, 5]});
    let Ok(Response::Displays(displays)) = control.ask_json(&mut fixture, line) else { panic!("no displays") };
    let second = displays.iter().find(|display| display.name == SECOND).expect("it");
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
        (json!({"request": "screenshot", "display": FIRST, "path": "relative"}), ErrorKind::BadValue),
        (json!({"request": "hello", "versions": [1]}), ErrorKind::Handshake),
    ] {
        let error = control.ask_json(&mut fixture, wrong.clone()).expect_err("it is wrong");
        assert_eq!(error.kind, kind, "{wrong}: {error}");
    }
    control.ask(&mut fixture, Request::Identify { seconds: 1 }).expect("identified");
    assert!(
        matches!(control.ask(&mut fixture, Request::Status), Ok(Response::Status(status)) if status.enabled_displays == 2)
    );

    // A heartbeat by order is answered when the client answers.
    control.next += 1;
    let number = control.next;
    control.say(format!("{}\n", json!({"id": number, "request": "ping", "client": id})).as_bytes());
    fixture.until("the round trip", |_| {
        client.turn();
        control.turn();
        control.replies.iter().any(|reply| reply.id == Some(number))
    });
    assert!(control.clients(&mut fixture).iter().any(|client| client.id == id && client.rtt_us.is_some()));

    control.ask(&mut fixture, Request::Disconnect { client: id }).expect("asked to leave");
    // The test's client does not obey: it is cut at the deadline.
    fixture.until("its end", |_| {
        control.turn();
        !client.turn()
    });
}

#[test]
fn a_screenshot_shows_the_display() {
    let mut fixture = Fixture::new(FAST);
    let _client = window(&mut fixture, "app", RED, None);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shot.png");
    let path = path.to_str().expect("UTF-8");
    let mut control = Control::greeted(&mut fixture, json!({}));
    let shot = |display: &str, path: Option<&str>| Request::Screenshot {
        display: display.into(),
        path: path.map(str::to_owned),
    };
    let answer = control.ask(&mut fixture, shot(FIRST, Some(path))).expect("a picture");
    assert!(control.fds.is_empty() && answer == Response::Screenshot { width: 800, height: 600 });
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).expect("the file")));
    let mut reader = decoder.read_info().expect("PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    reader.next_frame(&mut pixels).expect("pixels");
    assert_eq!(pixels[(300 * 800 + 400) * 3..][..3], [0xff, 0, 0]);
    // Nothing is overwritten, and what is no display is said to be none.
    assert!(control.ask(&mut fixture, shot(FIRST, Some(path))).is_err());
    assert!(control.ask(&mut fixture, shot("HDMI-A-9", None)).is_err());
    control.ask(&mut fixture, shot(FIRST, None)).expect("a picture");
    assert_eq!(control.fds.len(), 1);
}

#[test]
fn sessions_are_kept_and_resumed_as_their_type_says() {
    for (kind, survives) in [
        ("DISCONNECT_ONCE", vec![false]),
        ("KEEP_CONNECTION_OPEN", vec![true, true, true]),
        ("DISCONNECT_ONCE|KEEP_CONNECTION_OPEN", vec![true, false]),
    ] {
        let mut fixture = Fixture::new("[clients]\naccept_rate = 1000\n");
        let mut control = Control::raw(&mut fixture);
        let hello = json!({"request": "hello", "versions": [1], "connect_type": kind});
        let Ok(Response::Welcome(welcome)) = control.ask_json(&mut fixture, hello) else {
            panic!("no welcome")
        };
        control.ask(&mut fixture, Request::Subscribe).expect("subscribed");
        for survived in survives {
            drop(control);
            fixture.until("the loss", |fixture| {
                fixture
                    .compositor
                    .state
                    .clients
                    .iter()
                    .all(|record| record.ipc_state() != ConnectionState::Alive)
            });
            control = Control::raw(&mut fixture);
            let hello = json!({"request": "hello", "versions": [1], "token": welcome.token});
            match control.ask_json(&mut fixture, hello) {
                Ok(Response::Welcome(again)) => {
                    assert!(survived && again.resumed, "{kind}");
                    assert_eq!((again.connection, &again.token), (welcome.connection, &welcome.token));
                    // The subscription holds.
                    control.events.clear();
                    let new_client = fixture.client();
                    control.until_event(&mut fixture, "an event", |event| {
                        matches!(event, Event::ClientConnected { .. })
                    });
                    drop(new_client);
                    fixture.until("its end", |fixture| fixture.compositor.state.clients.len() == 1);
                }
                Err(error) => assert!(!survived && error.kind == ErrorKind::NotFound, "{kind}: {error}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A run that ends without leave: the next one knows its sessions, by token and user, and where its applications were.
#[test]
fn sessions_and_places_outlive_a_run() {
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
    let welcome = control.ask_json(&mut fixture, hello(None, "KEEP_CONNECTION_OPEN"));
    let Ok(Response::Welcome(kept)) = welcome else { panic!("{welcome:?}") };
    let mut once = Control::raw(&mut fixture);
    let Ok(Response::Welcome(once)) = once.ask_json(&mut fixture, hello(None, "DISCONNECT_ONCE")) else {
        panic!("no welcome")
    };
    let _app = window(&mut fixture, "app", RED, Some(SECOND));
    fixture.turn();
    let left = fixture.compositor.state.store.inherited();
    drop(fixture);

    let mut fixture = start(left);
    let mut control = Control::raw(&mut fixture);
    let refused = control.ask_json(&mut fixture, hello(Some(once.token), "DISCONNECT_ONCE"));
    assert!(refused.is_err_and(|error| error.kind == ErrorKind::NotFound));
    let welcome = control.ask_json(&mut fixture, hello(Some(kept.token), "KEEP_CONNECTION_OPEN"));
    let Ok(Response::Welcome(welcome)) = welcome else { panic!("{welcome:?}") };
    assert!(welcome.resumed && welcome.connection == kept.connection);
    let known = control.clients(&mut fixture);
    assert!(known.iter().any(|client| client.id == kept.connection && client.pid > 0), "{known:?}");
    let mut app = fixture.client();
    app.open("app", RED, None);
    fixture.until("the application where it was", |fixture| app.turn() && fixture.middle(SECOND) == RED);
    // An end that is meant leaves nothing.
    fixture.compositor.state.discard_saved_state();
    assert_eq!(fixture.compositor.state.store.inherited().stored().count(), 0);
}

#[test]
fn a_silent_control_client_loses_its_session() {
    let mut fixture = Fixture::new(FAST);
    let mut control = Control::greeted(&mut fixture, json!({"connect_type": "DISCONNECT_ONCE"}));
    control.polite = false;
    fixture.until("the loss", |_| {
        control.turn();
        control.broken
    });
    assert!(control.events.iter().any(|event| matches!(event, Event::Ping { .. })));
    assert!(fixture.compositor.state.clients.is_empty());
}

#[test]
fn bad_peers_get_a_word_and_cost_nobody_else() {
    let mut fixture = Fixture::new(FAST);
    let mut good = Control::greeted(&mut fixture, json!({}));

    // Who does not say hello first.
    let mut rude = Control::raw(&mut fixture);
    rude.say(b"{\"id\":1,\"request\":\"status\"}\n");
    fixture.until("its end", |_| {
        rude.turn();
        rude.broken
    });
    assert!(matches!(&rude.replies[0].result, ReplyResult::Error(error) if error.kind == ErrorKind::Handshake));

    // Who stops in the middle of it.
    let mut slow = Control::raw(&mut fixture);
    slow.say(b"{\"id\":1,\"requ");
    fixture.until("its end", |_| {
        good.turn();
        slow.turn();
        slow.broken
    });
    let goodbye = Event::Goodbye { reason: CloseReason::HeartbeatTimeout };
    assert_eq!(slow.events, [goodbye]);

    // Who sends a line without an end.
    let mut endless = Control::greeted(&mut fixture, json!({}));
    let chunk = vec![b'x'; 8192];
    let mut sent = 0;
    fixture.until("its end", |_| {
        good.turn();
        while sent < 4 * MAX_LINE && endless.say(&chunk) {
            sent += chunk.len();
        }
        endless.turn();
        endless.broken
    });
    assert!(sent < 4 * MAX_LINE);

    // Who sends no text at all, and goes on.
    let mut confused = Control::greeted(&mut fixture, json!({}));
    confused.say(b"\xff\xfe\x00\n[1,2\nnull\n");
    fixture.until("three errors", |_| {
        good.turn();
        confused.turn();
        confused.replies.len() == 3
    });
    assert!(matches!(confused.ask(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
    assert!(matches!(good.ask(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
}

#[test]
fn who_reads_no_replies_is_asked_to_wait() {
    let mut fixture = Fixture::new("");
    let mut control = Control::greeted(&mut fixture, json!({}));
    let line = b"{\"id\":7,\"request\":\"status\"}\n".repeat(64);
    let mut rest: &[u8] = &[];
    let mut stuck = 0;
    // Asks without reading until the service takes no more for a while.
    for _ in 0..20_000 {
        if rest.is_empty() {
            rest = &line;
        }
        match control.stream.write(rest) {
            Ok(count) => (rest, stuck) = (&rest[count..], 0),
            Err(_) => {
                stuck += 1;
                if stuck > 5 {
                    break;
                }
                fixture.turn();
            }
        }
    }
    assert!(stuck > 5, "a million requests were read without one reply being taken");
    let held: u64 = fixture.compositor.state.clients.iter().map(|record| record.unread_bytes()).sum();
    assert!(held < 2 << 20, "{held} bytes are held");
    // It reads, and is served again.
    control.say(rest);
    fixture.until("every reply", |_| {
        control.turn();
        control.replies.len() > 100
    });
    let mut other = Control::greeted(&mut fixture, json!({}));
    assert!(matches!(other.ask(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
}

/// A change that nobody confirms is taken back, to what was confirmed last; one that somebody does stays.
#[test]
fn changes_that_have_to_be_confirmed() {
    let mut fixture = Fixture::pair();
    let mut control = Control::greeted(&mut fixture, json!({}));
    let scale = |fixture: &Fixture| fixture.compositor.state.outputs.named(FIRST).map(|output| output.scale);
    let set = |fixture: &mut Fixture, control: &mut Control, factor: f64, within: Option<u32>| {
        let change = geom_ipc::DisplayChange { scale: Some(factor), ..Default::default() };
        let request =
            Request::SetDisplay { display: FIRST.into(), change: Box::new(change), confirm_within: within };
        control.ask(fixture, request).map(|_| ())
    };
    set(&mut fixture, &mut control, 1.5, None).expect("set");
    set(&mut fixture, &mut control, 2.0, Some(600)).expect("set");
    set(&mut fixture, &mut control, 3.0, Some(1)).expect("set");
    assert_eq!(scale(&fixture), Some(3.0));
    fixture.until("what was before both", |fixture| {
        fixture.compositor.state.outputs.named(FIRST).map(|output| output.scale) == Some(1.5)
    });
    let confirm = |keep: bool| Request::ConfirmDisplay { display: FIRST.into(), keep };
    let nothing = control.ask(&mut fixture, confirm(true)).expect_err("there is nothing to confirm");
    assert_eq!(nothing.kind, ErrorKind::NotFound);
    set(&mut fixture, &mut control, 2.0, Some(600)).expect("set");
    control.ask(&mut fixture, confirm(false)).expect("taken back");
    assert_eq!(scale(&fixture), Some(1.5));
    set(&mut fixture, &mut control, 2.0, Some(600)).expect("set");
    control.ask(&mut fixture, confirm(true)).expect("kept");
    assert_eq!(scale(&fixture), Some(2.0));
    let wrong = set(&mut fixture, &mut control, 2.0, Some(0)).expect_err("no time at all");
    assert_eq!(wrong.kind, ErrorKind::BadValue);
}
