//! The order of control requests: many at once, behind one that takes long, behind a resumed
//! session.

use std::os::fd::OwnedFd;

use geom_ipc::{ErrorKind, Event, ReplyResult, Request, Response};
use serde_json::json;

use super::control::Control;
use super::Fixture;

/// Numbers of the replies that have arrived, in order.
fn numbers(control: &Control) -> Vec<u64> {
    control.replies.iter().filter_map(|reply| reply.id).collect()
}

/// More requests than are handled in one iteration, in one write: what is buffered is handled
/// although the socket has nothing more.
#[test]
fn all_requests_of_one_write_are_answered() {
    let mut fixture = Fixture::new("");
    let mut control = Control::greeted(&mut fixture, json!({}));
    let lines: Vec<String> =
        (100..600).map(|id| json!({"id": id, "request": "heartbeat"}).to_string()).collect();
    assert!(control.write(format!("{}\n", lines.join("\n")).as_bytes()));
    fixture.until("all replies", |_| {
        control.poll();
        control.replies.len() == 500
    });
    assert_eq!(numbers(&control), (100..600).collect::<Vec<u64>>());
}

#[test]
fn requests_behind_a_screenshot_are_answered_after_it() {
    let mut fixture = Fixture::pair();
    let mut control = Control::greeted(&mut fixture, json!({}));
    let mut other = Control::greeted(&mut fixture, json!({}));
    let screenshot = json!({"id": 10, "request": "screenshot", "display": "HEADLESS-1"});
    let heartbeat = json!({"id": 11, "request": "heartbeat"});
    assert!(control.write(format!("{screenshot}\n{heartbeat}\n").as_bytes()));
    // Other clients do not wait.
    assert!(matches!(other.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
    fixture.until("both replies", |_| {
        control.poll();
        control.replies.len() == 2
    });
    assert_eq!((numbers(&control), control.fds.len()), (vec![10, 11], 1));
    let file: Vec<OwnedFd> = std::mem::take(&mut control.fds);
    let file = file.into_iter().next().map(std::fs::File::from).expect("a descriptor");
    let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("PNG");
    assert_eq!((reader.info().width, reader.info().height), (800, 600));
}

/// A client with many requests in its buffers does not make others wait: each iteration handles
/// some of them.
#[test]
fn pipelined_requests_do_not_delay_other_clients() {
    let mut fixture = Fixture::new("");
    let mut busy = Control::greeted(&mut fixture, json!({}));
    let mut other = Control::greeted(&mut fixture, json!({}));
    let line = format!("{}\n", json!({"id": 1, "request": "heartbeat", "padding": "x".repeat(60)}));
    // The kernel counts some hundred bytes in addition to each write.
    while busy.write(line.repeat(100).as_bytes()) {}
    let before = fixture.compositor.state.iteration;
    other.request(&mut fixture, Request::Heartbeat).expect("a reply");
    assert!(fixture.compositor.state.iteration - before <= 4, "the other client waits");
    // Each iteration has the time for other clients.
    busy.poll();
    let in_one = busy.replies.len();
    assert!(in_one <= 4 * 256, "{in_one} requests were handled in few iterations");
    fixture.until("many replies", |_| {
        busy.poll();
        busy.replies.len() > in_one
    });
}

/// 40 lines of 1 MiB, as fast as the service takes them.
#[test]
fn long_lines_do_not_delay_other_clients() {
    let mut fixture = Fixture::new("");
    let mut busy = Control::greeted(&mut fixture, json!({}));
    let mut other = Control::greeted(&mut fixture, json!({}));
    let padding = "x".repeat(geom_ipc::MAX_LINE - 100);
    let line = format!("{}\n", json!({"id": 9, "request": "heartbeat", "padding": padding}));
    let stream = busy.stream.try_clone().expect("a descriptor");
    stream.set_nonblocking(false).expect("a socket option");
    let sender = std::thread::spawn(move || {
        let mut stream = stream;
        (0..40).all(|_| std::io::Write::write_all(&mut stream, line.as_bytes()).is_ok())
    });
    let mut answered = 0;
    // The other client's requests end each iteration's wait while the busy one is paused.
    fixture.until_long("all lines", |fixture| {
        let before = fixture.compositor.state.iteration;
        other.request(fixture, Request::Heartbeat).expect("a reply");
        assert!(fixture.compositor.state.iteration - before <= 4, "the other client waits");
        answered += 1;
        receive_nonblocking(&mut busy);
        busy.replies.len() == 40
    });
    assert!(sender.join().expect("no panic") && answered >= 10, "{answered}");
}

/// As [`Control::poll`], while another thread has made the socket blocking.
fn receive_nonblocking(control: &mut Control) {
    let mut poll = [rustix::event::PollFd::new(&control.stream, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec::default();
    if rustix::event::poll(&mut poll, Some(&now)).is_ok_and(|ready| ready > 0) {
        control.poll_once();
    }
}

/// Screenshots of many clients: one is rendered in an iteration, few wait as images, all are
/// answered in order, and others do not wait.
#[test]
fn pipelined_screenshots_do_not_delay_other_clients() {
    let mut fixture = Fixture::pair();
    let mut other = Control::greeted(&mut fixture, json!({}));
    let mut busy: Vec<Control> = (0..6).map(|_| Control::greeted(&mut fixture, json!({}))).collect();
    let lines: Vec<String> = (100..140)
        .map(|id| json!({"id": id, "request": "screenshot", "display": "HEADLESS-1"}).to_string())
        .collect();
    for control in &mut busy {
        assert!(control.write(format!("{}\n", lines.join("\n")).as_bytes()));
    }
    for _ in 0..20 {
        let before = fixture.compositor.state.iteration;
        other.request(&mut fixture, Request::Heartbeat).expect("a reply");
        assert!(fixture.compositor.state.iteration - before <= 4, "the other client waits");
        assert!(fixture.compositor.state.control.jobs.running() <= 2);
    }
    let mut images = 0;
    fixture.until_long("all screenshots", |_| {
        busy.iter_mut().for_each(Control::poll);
        images += busy.iter_mut().map(|control| control.fds.drain(..).count()).sum::<usize>();
        busy.iter().all(|control| control.replies.len() == 40)
    });
    assert_eq!(images, 6 * 40);
    assert!(busy.iter().all(|control| numbers(control) == (100..140).collect::<Vec<u64>>()));
}

/// Each unread screenshot is an image in the service's memory.
#[test]
fn client_that_reads_no_screenshots_gets_no_more() {
    let mut fixture = Fixture::pair();
    let mut control = Control::greeted(&mut fixture, json!({}));
    let lines: Vec<String> = (100..140)
        .map(|id| json!({"id": id, "request": "screenshot", "display": "HEADLESS-2"}).to_string())
        .chain([json!({"id": 140, "request": "stop"}).to_string()])
        .collect();
    assert!(control.write(format!("{}\n", lines.join("\n")).as_bytes()));
    fixture.until_long("all replies", |fixture| fixture.compositor.state.is_stopping());
    control.poll();
    assert_eq!((control.fds.len(), control.replies.len()), (16, 41));
    assert_eq!(numbers(&control), (100..=140).collect::<Vec<u64>>());
}

/// The session is resumed while its request is carried out: the new client has not sent it.
#[test]
fn client_that_left_meanwhile_gets_no_screenshot() {
    let mut fixture = Fixture::pair();
    let mut control = Control::raw(&mut fixture);
    let hello = json!({"request": "hello", "versions": [1]});
    let Ok(Response::Welcome(welcome)) = control.request_json(&mut fixture, hello) else {
        panic!("no welcome")
    };
    let screenshot = json!({"id": 10, "request": "screenshot", "display": "HEADLESS-1"});
    assert!(control.write(format!("{screenshot}\n").as_bytes()));
    drop(control);
    let mut control = Control::raw(&mut fixture);
    let hello = json!({"request": "hello", "versions": [1], "token": welcome.token});
    let resumed = control.request_json(&mut fixture, hello);
    assert!(matches!(resumed, Ok(Response::Welcome(welcome)) if welcome.resumed));
    fixture.until("the end of the job", |fixture| fixture.compositor.state.control.jobs.is_idle());
    // The session goes on.
    assert!(matches!(control.request(&mut fixture, Request::Heartbeat), Ok(Response::Done)));
    assert!(control.replies.is_empty() && control.fds.is_empty());
}

#[test]
fn requests_behind_a_resuming_hello_are_handled() {
    let mut fixture = Fixture::new("");
    let mut control = Control::raw(&mut fixture);
    let hello = json!({"request": "hello", "versions": [1]});
    let Ok(Response::Welcome(welcome)) = control.request_json(&mut fixture, hello) else {
        panic!("no welcome")
    };
    let mut control = Control::raw(&mut fixture);
    let hello = json!({"id": 1, "request": "hello", "versions": [1], "token": welcome.token});
    let subscribe = json!({"id": 2, "request": "subscribe"});
    assert!(control.write(format!("{hello}\n{subscribe}\n").as_bytes()));
    fixture.until("both replies", |_| {
        control.poll();
        control.replies.len() == 2
    });
    assert_eq!(numbers(&control), [1, 2]);
    let _client = fixture.client();
    control.until_event(&mut fixture, "an event", |event| matches!(event, Event::ClientConnected { .. }));
}

/// The response of `subscribe` is its acknowledgment: each event after it arrives.
#[test]
fn events_of_requests_behind_a_subscription_arrive() {
    let mut fixture = Fixture::new("");
    let mut control = Control::greeted(&mut fixture, json!({}));
    let lines = [json!({"id": 10, "request": "subscribe"}), json!({"id": 11, "request": "reload"})];
    assert!(control.write(format!("{}\n{}\n", lines[0], lines[1]).as_bytes()));
    control.until_event(&mut fixture, "the event", |event| *event == Event::ConfigApplied);
    assert_eq!(numbers(&control)[..1], [10]);
}

#[test]
fn program_that_is_no_geom_compositor_does_not_replace_the_service() {
    let mut fixture = Fixture::new("");
    let mut control = Control::greeted(&mut fixture, json!({}));
    let upgrade = |program: &str| Request::Upgrade { program: Some(program.into()) };
    for program in ["/bin/true", "/nonexistent/program", "relative"] {
        let error = control.request(&mut fixture, upgrade(program)).expect_err(program);
        assert_eq!(error.kind, ErrorKind::BadValue, "{program}: {error}");
    }
    let is_error = |result: &ReplyResult| matches!(result, ReplyResult::Error(_));
    assert!(!control.replies.iter().any(|reply| is_error(&reply.result)));
}

#[test]
fn profile_applies_before_its_request_is_answered_and_follows_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ann/displays.toml");
    std::fs::create_dir(folder.path().join("ann")).expect("a folder");
    let write = |scale: f64| std::fs::write(&file, format!("[displays.HEADLESS-1]\nscale = {scale}\n"));
    write(2.0).expect("a file");
    let mut fixture = Fixture::pair();
    fixture.compositor.state.options.userdata = folder.path().to_owned();
    let mut control = Control::greeted(&mut fixture, json!({}));
    let scale = |fixture: &Fixture| {
        let output = fixture.compositor.state.outputs.named("HEADLESS-1").expect("a display");
        output.state().scale
    };
    let use_profile = |user: &str| Request::UseProfile { user: Some(user.into()) };
    assert!(matches!(control.request(&mut fixture, use_profile("ann")), Ok(Response::Done)));
    assert_eq!(scale(&fixture), 2.0);
    write(1.5).expect("a file");
    fixture.until("the changed file", |fixture| scale(fixture) == 1.5);
    assert!(control.request(&mut fixture, use_profile("../ann")).is_err());
    assert!(matches!(control.request(&mut fixture, use_profile("bob")), Ok(Response::Done)));
    assert_eq!(scale(&fixture), 1.0, "a user without a profile");
}
