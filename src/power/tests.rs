//! Tests of the component without a compositor: what it returns for each event.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use geom_display::identity::Identity;
use geom_display::lifecycle::Lifecycle;
use geom_display::plan::{ProbedConnector, ProbedGpu};

use super::logind::{Event, Request};
use super::*;
use crate::config::Policy;

const SECOND: Duration = Duration::from_secs(1);

/// A component, and what it reads of others.
struct Fixture {
    power: Power,
    outputs: Outputs,
    config: PowerConfig,
    now: Duration,
    is_paused: bool,
    is_asleep: bool,
    has_input_devices: bool,
}

impl Fixture {
    /// Enabled outputs with these names.
    fn new(names: &[&str]) -> Self {
        let mut outputs = Outputs::default();
        for name in names {
            let output = outputs.entry(name);
            output.set_lifecycle(Lifecycle::Enabled);
            output.state_mut().monitor.identity = Some(monitor(name));
        }
        Self {
            power: Power::default(),
            outputs,
            config: PowerConfig::default(),
            now: 100 * SECOND,
            is_paused: false,
            is_asleep: false,
            has_input_devices: true,
        }
    }

    /// Blanks outputs after 10 s.
    fn blanking(names: &[&str]) -> Self {
        let mut fixture = Self::new(names);
        fixture.config.blank_after = Some(10 * SECOND);
        fixture.call(Power::activity);
        fixture.call(Power::configure);
        fixture
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Power, &Cx<'_>) -> T) -> T {
        let cx = Cx {
            now: self.now,
            config: &self.config,
            outputs: &self.outputs,
            is_kms: true,
            is_paused: self.is_paused,
            is_asleep: self.is_asleep,
            has_input_devices: self.has_input_devices,
        };
        call(&mut self.power, &cx)
    }

    fn check_idle(&mut self) -> Effects {
        self.call(|power, cx| power.check_idle(false, cx))
    }

    fn on(&mut self, event: Event) -> Effects {
        self.call(|power, cx| power.on_logind(event, cx))
    }

    fn lid(&mut self, is_closed: bool) -> Effects {
        self.call(|power, cx| power.lid_moved(is_closed, cx))
    }

    fn connect(&mut self) {
        self.on(Event::Connected);
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn monitor(serial: &str) -> Identity {
    Identity { make: "GEO".into(), model: "Test".into(), serial: Some(serial.into()) }
}

fn inhibitor() -> OwnedFd {
    File::open("/dev/null").expect("/dev/null").into()
}

fn ask(request: Request) -> Effect {
    Effect::AskLogind(request)
}

fn idle_check(seconds: u64) -> Effect {
    Effect::ArmIdleCheck { at: Duration::from_secs(seconds) }
}

fn probed(names: &[&str]) -> Vec<ProbedGpu> {
    let connectors = names.iter().map(|name| ProbedConnector {
        name: (*name).into(),
        connected: true,
        modes: Vec::new(),
        ..ProbedConnector::default()
    });
    vec![ProbedGpu { id: 1, connectors: connectors.collect() }]
}

#[test]
fn idle_outputs_are_blanked_and_input_unblanks_them() {
    let mut fixture = Fixture::blanking(&["A", "B"]);
    fixture.connect();
    let all = names(&["A", "B"]);
    fixture.now += 9 * SECOND;
    assert_eq!(fixture.check_idle(), [idle_check(110)]);
    fixture.now += SECOND;
    assert_eq!(fixture.check_idle(), [Effect::Blank(all.clone()), ask(Request::IdleHint(true))]);
    assert!(fixture.power.is_idle_blanked());
    fixture.now += 5 * SECOND;
    let (unblanks, effects) = fixture.call(Power::activity);
    assert!(unblanks, "the input that unblanks does nothing else");
    assert_eq!(effects, [idle_check(125), Effect::Unblank(all), ask(Request::IdleHint(false))]);
    assert_eq!(fixture.call(Power::activity), (false, vec![]));
}

#[test]
fn output_that_cannot_be_blanked_is_not_unblanked() {
    let mut fixture = Fixture::blanking(&["A", "B"]);
    fixture.now += 10 * SECOND;
    fixture.check_idle();
    fixture.power.blank_failed("A");
    assert!(fixture.call(Power::activity).1.contains(&Effect::Unblank(names(&["B"]))));
}

/// Arms the next try to unblank.
fn retry_at(at: Duration) -> Effect {
    Effect::Arm { deadline: PowerDeadline::RetryUnblank, at }
}

#[test]
fn refused_outputs_are_tried_again_and_then_get_a_modeset() {
    let mut fixture = Fixture::new(&["A", "B"]);
    fixture.outputs.named_mut("A").expect("A").state_mut().blanked = true;
    let ms = Duration::from_millis;
    let mut delays = Vec::new();
    let mut tries = Vec::new();
    for _ in 0..12 {
        let armed = fixture.call(|power, cx| power.unblank_refused(names(&["A"]), cx));
        let [Effect::Arm { deadline: PowerDeadline::RetryUnblank, at }] = armed[..] else {
            panic!("{armed:?}")
        };
        assert!(fixture.call(Power::retry_unblank).is_empty(), "not before its time");
        delays.push(at - fixture.now);
        fixture.now = at;
        tries.extend(fixture.call(Power::retry_unblank));
    }
    let expected = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000];
    assert_eq!(delays, expected.map(ms));
    let (plain, full) = tries.split_at(3);
    assert!(plain.iter().all(|effect| *effect == Effect::Unblank(names(&["A"]))), "{plain:?}");
    assert!(full.iter().all(|effect| *effect == Effect::UnblankByModeset(names(&["A"]))), "{full:?}");
    assert!(fixture.power.forget_refused("A"));
    fixture.now += 60 * SECOND;
    assert!(fixture.call(Power::retry_unblank).is_empty());
    // The next time begins with short delays again.
    let armed = fixture.call(|power, cx| power.unblank_refused(names(&["A"]), cx));
    assert_eq!(armed, [retry_at(fixture.now + ms(100))]);
}

#[test]
fn input_tries_refused_outputs_again_but_not_each_motion() {
    let mut fixture = Fixture::new(&["A", "B"]);
    fixture.outputs.named_mut("A").expect("A").state_mut().blanked = true;
    fixture.call(|power, cx| power.unblank_refused(names(&["A"]), cx));
    assert_eq!(fixture.call(Power::activity), (false, vec![]), "it was tried just now");
    fixture.now += SECOND / 10;
    assert_eq!(fixture.call(Power::activity), (false, vec![Effect::Unblank(names(&["A"]))]));
    // Nothing is visible if the others are blanked too.
    fixture.call(|power, cx| power.unblank_refused(names(&["A"]), cx));
    fixture.outputs.named_mut("B").expect("B").state_mut().blanked = true;
    assert_eq!(fixture.call(Power::activity), (true, vec![]));
}

#[test]
fn refused_outputs_wait_for_the_end_of_a_pause() {
    let mut fixture = Fixture::new(&["A"]);
    fixture.outputs.named_mut("A").expect("A").state_mut().blanked = true;
    fixture.is_paused = true;
    assert!(fixture.call(|power, cx| power.unblank_refused(names(&["A"]), cx)).is_empty());
    fixture.is_paused = false;
    assert_eq!(fixture.call(Power::activity), (true, vec![Effect::Unblank(names(&["A"]))]));
}

#[test]
fn refused_output_is_unblanked_after_the_next_idle_time() {
    let mut fixture = Fixture::blanking(&["A", "B"]);
    fixture.outputs.named_mut("A").expect("A").state_mut().blanked = true;
    fixture.call(|power, cx| power.unblank_refused(names(&["A"]), cx));
    fixture.now += 10 * SECOND;
    assert_eq!(fixture.check_idle(), [Effect::Blank(names(&["B"]))]);
    assert!(fixture.call(Power::retry_unblank).is_empty(), "all displays are blanked now");
    assert!(fixture.call(Power::activity).1.contains(&Effect::Unblank(names(&["A", "B"]))));
}

#[test]
fn only_enabled_outputs_that_are_on_are_blanked() {
    let mut fixture = Fixture::blanking(&["A", "B", "C"]);
    fixture.outputs.named_mut("A").expect("A").state_mut().blanked = true;
    fixture.outputs.named_mut("B").expect("B").set_lifecycle(Lifecycle::Disconnected);
    fixture.now += 10 * SECOND;
    assert_eq!(fixture.check_idle(), [Effect::Blank(names(&["C"]))]);
}

#[test]
fn known_monitor_that_comes_back_stays_blanked() {
    let mut fixture = Fixture::blanking(&["A"]);
    fixture.now += 10 * SECOND;
    fixture.check_idle();
    let pending = |active| Effect::SetPendingActive { display: "A".into(), active };
    // With its EDID or, as it sleeps, without.
    for identity in [Some(monitor("A")), None] {
        let effects = fixture.call(|power, cx| power.keep_blanked("A", identity.as_ref(), cx));
        assert_eq!(effects, [pending(false)]);
    }
    // At input it is still disconnected: it will be enabled unblanked.
    fixture.outputs.named_mut("A").expect("A").set_lifecycle(Lifecycle::Disconnected);
    let effects = fixture.call(Power::activity).1;
    assert!(effects.contains(&pending(true)), "{effects:?}");
    assert!(effects.contains(&Effect::Unblank(vec![])), "{effects:?}");
}

#[test]
fn new_monitor_counts_as_input() {
    let mut fixture = Fixture::blanking(&["A"]);
    fixture.now += 10 * SECOND;
    fixture.check_idle();
    let effects = fixture.call(|power, cx| power.keep_blanked("B", Some(&monitor("B")), cx));
    let activity = Effect::Arm { deadline: PowerDeadline::Activity, at: fixture.now };
    assert_eq!(effects, [Effect::SetPendingActive { display: "B".into(), active: false }, activity]);
    // The same monitor again does not.
    let again = fixture.call(|power, cx| power.keep_blanked("B", Some(&monitor("B")), cx));
    assert_eq!(again.len(), 1);
    assert!(fixture.call(Power::activity).0);
    assert!(fixture.call(|power, cx| power.keep_blanked("B", None, cx)).is_empty(), "not blanked");
}

#[test]
fn nothing_is_blanked_on_another_vt_or_without_an_input_device() {
    for is_paused in [true, false] {
        let mut fixture = Fixture::blanking(&["A"]);
        fixture.is_paused = is_paused;
        fixture.has_input_devices = is_paused;
        fixture.now += 10 * SECOND;
        assert_eq!(fixture.check_idle(), [idle_check(120)]);
    }
}

#[test]
fn inhibitors_hold_off_inhibitable_timers_only() {
    let mut fixture = Fixture::blanking(&["A"]);
    let (inhibitable, _) = fixture.power.add_idle_timer(5 * SECOND, true);
    let (other, effects) = fixture.power.add_idle_timer(4 * SECOND, false);
    assert_eq!(effects, [idle_check(104)]);
    fixture.now += 10 * SECOND;
    let effects = fixture.call(|power, cx| power.check_idle(true, cx));
    assert_eq!(effects, [Effect::NotifyIdle { timer: other, is_idle: true }, idle_check(115)]);
    // The inhibitor ends 4 s later.
    fixture.now += 4 * SECOND;
    assert_eq!(fixture.call(Power::inhibitor_ended), []);
    fixture.now += SECOND;
    assert_eq!(fixture.check_idle(), [idle_check(119)]);
    fixture.now += 4 * SECOND;
    let idle = Effect::NotifyIdle { timer: inhibitable, is_idle: true };
    assert_eq!(fixture.check_idle(), [idle, idle_check(124)]);
    let resumed = |timer| Effect::NotifyIdle { timer, is_idle: false };
    let (_, effects) = fixture.call(Power::activity);
    assert_eq!(effects, [resumed(inhibitable), resumed(other), idle_check(123)]);
    fixture.power.remove_idle_timer(other);
    fixture.power.remove_idle_timer(inhibitable);
    fixture.now += 5 * SECOND;
    assert_eq!(fixture.check_idle(), [idle_check(129)]);
}

#[test]
fn configuration_without_idle_blanking_unblanks() {
    let mut fixture = Fixture::blanking(&["A"]);
    fixture.now += 10 * SECOND;
    fixture.check_idle();
    fixture.config.blank_after = None;
    assert_eq!(fixture.call(Power::configure), [Effect::Unblank(names(&["A"]))]);
    assert!(!fixture.power.is_idle_blanked());
}

#[test]
fn press_that_unblanks_is_withheld_until_its_release() {
    let mut fixture = Fixture::blanking(&["A"]);
    let (key, button) = (HeldInput::Key(38), HeldInput::Button(0x110));
    fixture.now += 10 * SECOND;
    fixture.check_idle();
    let mut press = |press, is_down| fixture.call(|power, cx| power.press(press, is_down, cx)).0;
    assert!(press(button, true));
    assert!(!press(key, true), "outputs are unblanked already");
    assert!(!press(key, false));
    assert!(press(button, false));
    assert!(!press(button, false), "the press has ended");
    assert!(!press(button, true));
    // Keys that the compositor takes.
    fixture.power.withhold(key);
    fixture.power.withhold(key);
    assert!(fixture.power.is_withheld(key));
    assert!(fixture.power.release(key));
    assert!(!fixture.power.is_withheld(key));
}

#[test]
fn closed_lid_blanks_the_only_display_and_keys_do_not_unblank_it() {
    let mut fixture = Fixture::new(&["eDP-1"]);
    fixture.config.lid = Policy::Disable;
    let all = names(&["eDP-1"]);
    assert_eq!(fixture.lid(true), [Effect::Reconfigure("lid moved")]);
    assert_eq!(fixture.lid(true), [], "the lid has not moved");
    assert!(fixture.power.disabled_by_lid(&fixture.config, &probed(&["eDP-1"])).is_empty());
    assert_eq!(fixture.call(Power::check_lid), [Effect::Blank(all.clone())]);
    assert_eq!(fixture.call(Power::check_lid), []);
    assert!(!fixture.call(Power::activity).0, "a closing lid may press keys");
    assert_eq!(fixture.lid(false), [Effect::Reconfigure("lid moved"), Effect::Activity]);
    assert_eq!(fixture.call(Power::check_lid), [Effect::Unblank(all)]);
}

#[test]
fn closed_lid_disables_built_in_displays_if_there_is_another() {
    let mut fixture = Fixture::new(&["eDP-1", "DP-1"]);
    fixture.config.lid = Policy::Disable;
    fixture.lid(true);
    let present = probed(&["eDP-1", "DP-1"]);
    assert_eq!(fixture.power.disabled_by_lid(&fixture.config, &present), ["eDP-1"]);
    assert_eq!(fixture.call(Power::check_lid), []);
    // The other one is unplugged, and then plugged in again.
    let (built_in, other) = (names(&["eDP-1"]), "DP-1");
    fixture.outputs.named_mut(other).expect("DP-1").set_lifecycle(Lifecycle::Disconnected);
    assert_eq!(fixture.call(Power::check_lid), [Effect::Blank(built_in.clone())]);
    fixture.outputs.named_mut(other).expect("DP-1").set_lifecycle(Lifecycle::Enabled);
    assert_eq!(fixture.call(Power::check_lid), [Effect::Unblank(built_in)]);
    fixture.lid(false);
    assert!(fixture.power.disabled_by_lid(&fixture.config, &present).is_empty());
}

#[test]
fn lid_that_suspends_acts_when_it_is_closed() {
    let mut fixture = Fixture::new(&["eDP-1"]);
    fixture.config.lid = Policy::Suspend;
    fixture.connect();
    assert_eq!(fixture.lid(true), [ask(Request::Suspend)]);
    assert_eq!(fixture.lid(false), [Effect::Activity]);
    fixture.config.lid = Policy::Nothing;
    assert_eq!(fixture.lid(true), []);
}

#[test]
fn power_button_follows_its_policy() {
    let mut fixture = Fixture::new(&["A"]);
    fixture.connect();
    let cases = [
        (Policy::System, vec![]),
        (Policy::Nothing, vec![]),
        (Policy::Suspend, vec![ask(Request::Suspend)]),
        (Policy::PowerOff, vec![ask(Request::PowerOff)]),
        (Policy::Blank, vec![Effect::Blank(names(&["A"])), ask(Request::IdleHint(true))]),
        // Blanked already: the press unblanks before it gets here.
        (Policy::Blank, vec![]),
    ];
    for (policy, expected) in cases {
        fixture.config.power_button = policy;
        assert_eq!(fixture.config.takes_power_button(), policy != Policy::System);
        assert_eq!(fixture.call(Power::power_button), expected, "{policy:?}");
    }
}

#[test]
fn actions_of_a_missing_logind_are_reported() {
    let mut fixture = Fixture::new(&["A"]);
    fixture.config.power_button = Policy::PowerOff;
    let effects = fixture.call(Power::power_button);
    assert!(matches!(&effects[..], [Effect::Notice(text)] if text.contains("power off")), "{effects:?}");
}

#[test]
fn sleep_is_allowed_after_outputs_are_paused() {
    let mut fixture = Fixture::new(&["A"]);
    assert_eq!(fixture.on(Event::Connected), [ask(Request::DelaySleep)]);
    assert_eq!(fixture.on(Event::SleepDelayed(Ok(inhibitor()))), []);
    assert!(fixture.power.logind.delays_sleep());
    assert_eq!(fixture.on(Event::PrepareForSleep(true)), [Effect::PrepareForSleep, Effect::AllowSleep]);
    assert!(fixture.power.logind.delays_sleep(), "until the effect is applied");
    fixture.power.allow_sleep();
    assert!(!fixture.power.logind.delays_sleep());
    fixture.is_asleep = true;
    assert_eq!(fixture.on(Event::PrepareForSleep(true)), [Effect::AllowSleep], "reported twice");
    let resumed = [ask(Request::DelaySleep), Effect::Resume, Effect::Activity];
    assert_eq!(fixture.on(Event::PrepareForSleep(false)), resumed);
}

#[test]
fn sleep_without_logind_is_detected_by_the_clocks() {
    let mut fixture = Fixture::new(&["A"]);
    fixture.power.note_slept(5 * SECOND);
    let mut clock_changed = |slept| fixture.call(|power, cx| power.clock_changed(slept, cx));
    assert_eq!(clock_changed(5 * SECOND + Duration::from_millis(50)), [Effect::ClockSet]);
    assert_eq!(clock_changed(7 * SECOND), [Effect::Resume, Effect::Activity]);
    fixture.is_asleep = true;
    assert_eq!(fixture.call(|power, cx| power.clock_changed(9 * SECOND, cx)), [], "logind reports it");
}

#[test]
fn lost_bus_ends_sleep_and_is_connected_again() {
    let mut fixture = Fixture::new(&["A"]);
    fixture.connect();
    fixture.on(Event::SleepDelayed(Ok(inhibitor())));
    let retry = Effect::Arm { deadline: PowerDeadline::ConnectLogind, at: fixture.now + SECOND };
    fixture.is_asleep = true;
    assert_eq!(fixture.on(Event::Disconnected), [Effect::Resume, Effect::Activity, retry]);
    assert!(!fixture.power.logind.delays_sleep());
    fixture.config.lid = Policy::Suspend;
    assert!(matches!(&fixture.lid(true)[..], [Effect::Notice(_)]), "no logind to ask");
}

#[test]
fn connecting_to_logind_is_retried_for_two_minutes() {
    for policy in [Policy::System, Policy::Suspend] {
        let mut fixture = Fixture::new(&["A"]);
        fixture.config.lid = policy;
        for delay in [2, 4, 8, 16, 32, 64] {
            let at = fixture.now + delay * SECOND;
            let retry = Effect::Arm { deadline: PowerDeadline::ConnectLogind, at };
            assert_eq!(fixture.on(Event::ConnectFailed("no bus".into())), [retry]);
        }
        // Reported only if the configuration needs it.
        let last = fixture.on(Event::ConnectFailed("no bus".into()));
        match policy {
            Policy::System => assert_eq!(last, []),
            _ => assert!(matches!(&last[..], [Effect::Notice(text)] if text.contains("no bus"))),
        }
    }
}

#[test]
fn refused_switches_are_asked_for_again_and_then_reported() {
    let mut fixture = Fixture::new(&["A"]);
    fixture.config.power_button = Policy::Nothing;
    let refused = || Event::SwitchesHeld { switches: "handle-power-key".into(), result: Err("no".into()) };
    let hold = ask(Request::HoldSwitches("handle-power-key".into()));
    assert_eq!(fixture.on(Event::Connected), [ask(Request::DelaySleep), hold]);
    for delay in [2, 4, 8] {
        let at = fixture.now + delay * SECOND;
        let retry = Effect::Arm { deadline: PowerDeadline::HoldSwitches, at };
        assert_eq!(fixture.on(refused()), [retry]);
    }
    let reported = fixture.on(refused());
    assert!(matches!(&reported[..], [Effect::Notice(text)] if text.contains("handle-power-key")));
    // The session becomes active: polkit may allow it now.
    let hold = ask(Request::HoldSwitches("handle-power-key".into()));
    assert_eq!(fixture.call(Power::session_resumed), [ask(Request::DelaySleep), hold]);
    assert!(matches!(&fixture.on(refused())[..], [Effect::Arm { .. }]), "the retries start again");
}

#[test]
fn switches_are_held_as_configured() {
    let mut fixture = Fixture::new(&["A"]);
    fixture.connect();
    assert_eq!(fixture.call(Power::configure), [], "logind acts on both");
    (fixture.config.lid, fixture.config.power_button) = (Policy::Nothing, Policy::Blank);
    let both = "handle-lid-switch:handle-power-key".to_owned();
    assert_eq!(fixture.call(Power::configure), [ask(Request::HoldSwitches(both.clone()))]);
    fixture.on(Event::SwitchesHeld { switches: both, result: Ok(inhibitor()) });
    assert_eq!(fixture.call(Power::configure), [], "held already");
    fixture.config.lid = Policy::System;
    let hold = ask(Request::HoldSwitches("handle-power-key".into()));
    assert_eq!(fixture.call(Power::configure), [hold]);
}

#[test]
fn refused_action_is_reported() {
    let mut fixture = Fixture::new(&["A"]);
    assert_eq!(fixture.on(Event::Done { action: "suspend", result: Ok(()) }), []);
    let effects = fixture.on(Event::Done { action: "suspend", result: Err("denied".into()) });
    assert_eq!(effects, [Effect::Notice("logind refuses to suspend: denied".into())]);
}
