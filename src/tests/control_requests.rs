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
