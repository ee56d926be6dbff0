//! Idleness: notifications, inhibitors, and blanked displays.

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

/// The client's globals, and the events that it received: the notification, and whether the user is
/// idle.
#[derive(Default)]
pub struct Globals {
    seat: Option<wl_seat::WlSeat>,
    notifier: Option<ExtIdleNotifierV1>,
    manager: Option<ZwpIdleInhibitManagerV1>,
    events: Vec<(&'static str, bool)>,
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
        state.idle.events.push((which, matches!(event, ext_idle_notification_v1::Event::Idled)));
    }
}

const FIRST: &str = "HEADLESS-1";
const RED: u32 = 0x00ff_0000;
/// Timeout of the notifications, in milliseconds.
const TIMEOUT: u32 = 100;

fn inhibitor(client: &TestClient, window: usize) -> ZwpIdleInhibitorV1 {
    let manager = client.idle.manager.as_ref().expect("the manager");
    manager.create_inhibitor(&client.windows()[window].surface, &client.handle(), ())
}

fn notifications(client: &TestClient) {
    let (globals, queue) = (&client.idle, client.handle());
    let (notifier, seat) = (globals.notifier.as_ref().expect("the notifier"), globals.seat.as_ref());
    notifier.get_idle_notification(TIMEOUT, seat.expect("the seat"), &queue, "any");
    notifier.get_input_idle_notification(TIMEOUT, seat.expect("the seat"), &queue, "input");
}

#[test]
fn clients_are_notified_unless_a_visible_surface_inhibits() {
    let mut fixture = Fixture::pair();
    let mut client = fixture.client();
    until(&mut fixture, &mut client, "globals", |_, client| client.idle.manager.is_some());
    fixture.compositor.state.activity();
    notifications(&client);
    until(&mut fixture, &mut client, "idled", |_, client| client.idle.events.len() == 2);
    assert_eq!(client.idle.events, [("any", true), ("input", true)]);
    fixture.compositor.state.activity();
    until(&mut fixture, &mut client, "resumed", |_, client| client.idle.events.len() >= 4);
    assert_eq!(client.idle.events[2..4], [("any", false), ("input", false)]);

    // The inhibitor of a visible window delays one notification, and not the other.
    client.idle.events.clear();
    client.open("film", RED, None);
    until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    let visible = inhibitor(&client, 0);
    fixture.compositor.state.activity();
    client.idle.events.clear();
    let since = fixture.compositor.state.now();
    until(&mut fixture, &mut client, "the notification of input", |fixture, client| {
        let passed = fixture.compositor.state.now() - since;
        passed > 4 * std::time::Duration::from_millis(TIMEOUT.into())
            && client.idle.events.contains(&("input", true))
    });
    assert!(!client.idle.events.contains(&("any", true)), "{:?}", client.idle.events);
    visible.destroy();
    until(&mut fixture, &mut client, "the notification that respects inhibitors", |_, client| {
        client.idle.events.contains(&("any", true))
    });

    // The inhibitor of a hidden window has no effect.
    client.open("over", 0x0000_ff00, None);
    until(&mut fixture, &mut client, "green", |fixture, _| fixture.middle(FIRST) == 0x0000_ff00);
    let _hidden = inhibitor(&client, 0);
    fixture.compositor.state.activity();
    client.idle.events.clear();
    until(&mut fixture, &mut client, "idled", |_, client| client.idle.events.contains(&("any", true)));
}

#[test]
fn displays_are_blanked_until_input() {
    let mut fixture =
        Fixture::new("[headless]\ndisplays = [\"800x600\", \"640x480\"]\n[power]\nblank_after = 0.1\n");
    let mut client = fixture.client();
    client.open("app", RED, None);
    until(&mut fixture, &mut client, "the window", |fixture, _| fixture.middle(FIRST) == RED);
    fixture.compositor.state.read_power();
    let are_blanked = |fixture: &Fixture| {
        let outputs = &fixture.compositor.state.outputs;
        let blanked: Vec<bool> =
            outputs.iter().map(|output| output.is_enabled() && output.state().blanked).collect();
        blanked == [true, true]
    };
    let are_shown = |fixture: &Fixture| {
        let outputs = &fixture.compositor.state.outputs;
        outputs.iter().all(|output| output.is_enabled() && !output.state().blanked)
    };
    until(&mut fixture, &mut client, "blanked displays", |fixture, _| are_blanked(fixture));
    // Sleeping monitors may disconnect and reconnect.
    for _ in 0..3 {
        fixture.plug(FIRST, false);
        fixture.iterate();
        fixture.plug(FIRST, true);
        fixture.iterate();
        assert!(are_blanked(&fixture), "a reconnected monitor ended the blanking");
    }
    assert!(fixture.compositor.state.activity(), "the input that ends the blanking is for no client");
    assert!(are_shown(&fixture));
    assert!(!fixture.compositor.state.activity());
    until(&mut fixture, &mut client, "blanked displays again", |fixture, _| are_blanked(fixture));
    // A request to unblank one display counts as input.
    fixture.compositor.state.blank(&[FIRST.into()], false).expect("unblanked");
    assert!(are_shown(&fixture));
}
