//! Nobody is there: programs that are told so, programs that hold it off, displays that go dark.

use wayland_client::protocol::{wl_registry, wl_seat};
use wayland_client::{delegate_noop, Connection, Dispatch, QueueHandle};
use wayland_protocols::ext::idle_notify::v1::client::ext_idle_notification_v1::{
    self, ExtIdleNotificationV1,
};
use wayland_protocols::ext::idle_notify::v1::client::ext_idle_notifier_v1::ExtIdleNotifierV1;
use wayland_protocols::wp::idle_inhibit::zv1::client::zwp_idle_inhibit_manager_v1::ZwpIdleInhibitManagerV1;
use wayland_protocols::wp::idle_inhibit::zv1::client::zwp_idle_inhibitor_v1::ZwpIdleInhibitorV1;

use super::client::TestState;
use super::{until, Fixture, TestClient};

/// What a client has of it, and what it was told: by notification, whether it is idle.
#[derive(Default)]
pub struct Globals {
    seat: Option<wl_seat::WlSeat>,
    notifier: Option<ExtIdleNotifierV1>,
    manager: Option<ZwpIdleInhibitManagerV1>,
    told: Vec<(&'static str, bool)>,
}

impl Globals {
    pub fn bind(
        &mut self,
        registry: &wl_registry::WlRegistry,
        name: u32,
        interface: &str,
        queue: &QueueHandle<TestState>,
    ) {
        match interface {
            "wl_seat" => self.seat = Some(registry.bind(name, 1, queue, ())),
            "ext_idle_notifier_v1" => self.notifier = Some(registry.bind(name, 2, queue, ())),
            "zwp_idle_inhibit_manager_v1" => self.manager = Some(registry.bind(name, 1, queue, ())),
            _ => {}
        }
    }
}

delegate_noop!(TestState: ignore wl_seat::WlSeat);
delegate_noop!(TestState: ignore ExtIdleNotifierV1);
delegate_noop!(TestState: ignore ZwpIdleInhibitManagerV1);
delegate_noop!(TestState: ignore ZwpIdleInhibitorV1);

impl Dispatch<ExtIdleNotificationV1, &'static str> for TestState {
    fn event(
        state: &mut Self,
        _: &ExtIdleNotificationV1,
        event: ext_idle_notification_v1::Event,
        which: &&'static str,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        state.idle.told.push((which, matches!(event, ext_idle_notification_v1::Event::Idled)));
    }
}

const FIRST: &str = "HEADLESS-1";
const RED: u32 = 0x00ff_0000;
/// Milliseconds.
const SHORT: u32 = 100;

fn inhibitor(client: &TestClient, window: usize) -> ZwpIdleInhibitorV1 {
    let manager = client.idle.manager.as_ref().expect("the manager");
    manager.create_inhibitor(&client.windows()[window].surface, &client.handle(), ())
}

fn notifications(client: &TestClient) {
    let (globals, queue) = (&client.idle, client.handle());
    let (notifier, seat) = (globals.notifier.as_ref().expect("the notifier"), globals.seat.as_ref());
    notifier.get_idle_notification(SHORT, seat.expect("the seat"), &queue, "any");
    notifier.get_input_idle_notification(SHORT, seat.expect("the seat"), &queue, "input");
}

#[test]
fn programs_hear_that_nobody_is_there() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    until(&mut fixture, &mut client, "globals", |_, client| client.idle.manager.is_some());
    fixture.compositor.state.activity();
    notifications(&client);
    until(&mut fixture, &mut client, "idled", |_, client| client.idle.told.len() == 2);
    assert_eq!(client.idle.told, [("any", true), ("input", true)]);
    fixture.compositor.state.activity();
    until(&mut fixture, &mut client, "resumed", |_, client| client.idle.told.len() >= 4);
    assert_eq!(client.idle.told[2..4], [("any", false), ("input", false)]);

    // A window that is seen holds the one off, and not the other.
    client.idle.told.clear();
    client.open("film", RED, None);
    until(&mut fixture, &mut client, "the picture", |fixture, _| fixture.middle(FIRST) == RED);
    let held = inhibitor(&client, 0);
    fixture.compositor.state.activity();
    client.idle.told.clear();
    let since = fixture.compositor.state.now();
    until(&mut fixture, &mut client, "the other", |fixture, client| {
        let passed = fixture.compositor.state.now() - since;
        passed > 4 * std::time::Duration::from_millis(SHORT.into())
            && client.idle.told.contains(&("input", true))
    });
    assert!(!client.idle.told.contains(&("any", true)), "{:?}", client.idle.told);
    held.destroy();
    until(&mut fixture, &mut client, "the one", |_, client| client.idle.told.contains(&("any", true)));

    // One that is not seen holds nothing off.
    client.open("over", 0x0000_ff00, None);
    until(&mut fixture, &mut client, "green", |fixture, _| fixture.middle(FIRST) == 0x0000_ff00);
    let _hidden = inhibitor(&client, 0);
    fixture.compositor.state.activity();
    client.idle.told.clear();
    until(&mut fixture, &mut client, "idled", |_, client| client.idle.told.contains(&("any", true)));
}

#[test]
fn displays_go_dark_and_stay_so_until_somebody_comes() {
    let mut fixture =
        Fixture::new("[headless]\ndisplays = [\"800x600\", \"640x480\"]\n[power]\nblank_after = 0.1\n");
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the picture", |fixture, _| fixture.middle(FIRST) == RED);
    fixture.compositor.state.read_power();
    let dark = |fixture: &Fixture| {
        let outputs = &fixture.compositor.state.outputs;
        let dark: Vec<bool> = outputs.iter().map(|output| output.is_enabled() && output.blanked).collect();
        dark == [true, true]
    };
    until(&mut fixture, &mut client, "darkness", |fixture, _| dark(fixture));
    // A monitor that drops its link and comes back.
    for _ in 0..3 {
        fixture.plug(FIRST, false);
        fixture.turn();
        fixture.plug(FIRST, true);
        fixture.turn();
        assert!(dark(&fixture), "it woke itself");
    }
    assert!(fixture.compositor.state.activity(), "what wakes does nothing else");
    assert!(fixture.compositor.state.outputs.iter().all(|output| output.is_enabled() && !output.blanked));
    assert!(!fixture.compositor.state.activity());
    until(&mut fixture, &mut client, "darkness again", |fixture, _| dark(fixture));
    // Light by a person's wish is a sign of life.
    fixture.compositor.state.blank(FIRST, false).expect("light");
    assert!(fixture.compositor.state.outputs.iter().all(|output| output.is_enabled() && !output.blanked));
}
