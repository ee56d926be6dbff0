//! A display, a GPU and a client, driven by the frame clock and the redraw state machine: how many
//! frames are shown for how long the GPU takes.

use super::{FrameClock, Time};
use crate::output::redraw::{Action, Event, Redraw};

use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
/// From the vblank to the compositor's handling of its event.
const EVENT_LATENCY: Duration = Duration::from_micros(200);
/// The CPU's part of rendering.
const CPU: Duration = Duration::from_micros(800);
/// From a frame callback to the client's commit, of most clients.
const CLIENT: Duration = Duration::from_millis(2);

/// When a client draws.
#[derive(Debug, Clone, Copy)]
enum Client {
    /// This time after a frame callback.
    AfterCallback(Duration),
    /// With this period, by its own clock.
    Timed(Duration),
}

/// A committed frame.
struct Pending {
    at: Time,
    /// When the GPU is done with it.
    done: Time,
    commit_of_client: Time,
}

struct Simulation {
    clock: FrameClock,
    redraw: Redraw,
    /// Whether frames may be drawn ahead.
    may_draw_ahead: bool,
    pointer_moves: bool,
    client: Client,
    gpu_time: Duration,
    gpu_is_free: Time,
    pending: Option<Pending>,
    ahead: Option<(Time, Time)>,
    deadline: Option<Time>,
    /// When the client commits its next frame, if it got a frame callback.
    client_commits: Option<Time>,
    committed_at: Time,
    waits_for_callback: bool,
    first_shown: Option<Time>,
    last_shown: Time,
    shown: u64,
    /// Commits of the client.
    commits: u64,
    latency: Duration,
}

impl Simulation {
    fn new(refresh: u32, gpu_time: Duration, may_draw_ahead: bool) -> Self {
        Self {
            clock: FrameClock::new(refresh),
            redraw: Redraw::Idle,
            may_draw_ahead,
            pointer_moves: false,
            client: Client::AfterCallback(CLIENT),
            gpu_time,
            gpu_is_free: Time::ZERO,
            pending: None,
            ahead: None,
            deadline: None,
            client_commits: Some(MS * 1000),
            committed_at: Time::ZERO,
            waits_for_callback: false,
            first_shown: None,
            last_shown: Time::ZERO,
            shown: 0,
            commits: 0,
            latency: Duration::ZERO,
        }
    }

    /// Returns the vblank that shows the committed frame.
    fn flip(&self) -> Option<Time> {
        let pending = self.pending.as_ref()?;
        let (ready, interval) = (pending.at.max(pending.done), self.clock.interval());
        let passed = ready.as_nanos() / interval.as_nanos();
        Some(interval * u32::try_from(passed + 1).expect("not that long"))
    }

    /// As `Outputs::on_redraw` and `State::render`.
    fn on(&mut self, event: Event, now: Time) {
        let ahead = self.may_draw_ahead && self.clock.draws_ahead();
        let event = match (event, self.redraw) {
            (Event::Damage, Redraw::AwaitingVblank { .. }) if ahead => Event::DamageAhead,
            (Event::Submitted, _) if ahead => Event::SubmittedEarly,
            _ => event,
        };
        let action;
        (self.redraw, action) = self.redraw.on(event);
        match action {
            Action::ArmDeadline => self.arm(now),
            Action::EndFrame => self.end_frame(now),
            Action::EndFrameAndArmDeadline => {
                self.end_frame(now);
                self.arm(now);
            }
            Action::Render => self.render(now),
            Action::Commit => {
                let (done, commit_of_client) = self.ahead.take().expect("a frame");
                self.pending = Some(Pending { at: now, done, commit_of_client });
                self.on(Event::Submitted, now);
            }
            Action::None | Action::Disarm => {}
            other => panic!("{other:?}"),
        }
    }

    fn arm(&mut self, now: Time) {
        let late = self.clock.deadline(now, matches!(self.redraw, Redraw::QueuedAhead { .. }));
        // A client that got a frame callback will commit before the deadline.
        let awaits_client = matches!(self.client, Client::AfterCallback(_)) && self.client_commits.is_some();
        let waits = self.pointer_moves || awaits_client;
        self.deadline = Some(if waits { late } else { now });
    }

    fn end_frame(&mut self, now: Time) {
        self.clock.clients_asked(now);
        if let Client::AfterCallback(time) = self.client {
            if std::mem::take(&mut self.waits_for_callback) {
                self.client_commits = Some(now + time);
            }
        }
    }

    fn render(&mut self, now: Time) {
        let is_ahead = self.redraw.renders_ahead();
        let drawn = now + CPU;
        let done = drawn.max(self.gpu_is_free.max(now) + self.gpu_time);
        self.gpu_is_free = done;
        self.clock.drawn(now, drawn, is_ahead);
        if is_ahead {
            assert!(self.ahead.is_none() && self.pending.is_some(), "two frames at most");
            self.ahead = Some((done, self.committed_at));
            self.on(Event::Drawn, drawn);
        } else {
            assert!(self.pending.is_none(), "the kernel takes one frame");
            self.pending = Some(Pending { at: drawn, done, commit_of_client: self.committed_at });
            self.on(Event::Submitted, drawn);
        }
    }

    /// Runs until the next thing has happened.
    fn step(&mut self) {
        let handled = self.flip().map(|flip| flip + EVENT_LATENCY);
        let next = [handled, self.deadline, self.client_commits].into_iter().flatten().min();
        let now = next.expect("something happens");
        if self.client_commits == next {
            self.client_commits = match self.client {
                Client::AfterCallback(_) => None,
                Client::Timed(period) => Some(now + period),
            };
            self.commits += 1;
            (self.committed_at, self.waits_for_callback) = (now, true);
            self.on(Event::Damage, now);
            self.clock.clients_ready(now);
            self.on(Event::Complete, now);
        } else if self.deadline == next {
            self.deadline = None;
            self.on(Event::Deadline, now);
        } else {
            let vblank = self.flip().expect("a pending frame");
            let pending = self.pending.take().expect("a pending frame");
            self.clock.gpu_done(pending.done);
            self.clock.presented(vblank, true);
            self.first_shown.get_or_insert(vblank);
            self.last_shown = vblank;
            self.shown += 1;
            self.latency += vblank - pending.commit_of_client;
            self.on(Event::Vblank, now);
        }
    }

    /// Returns frames shown per refresh, and the mean latency from a client's commit, of the next
    /// frames.
    fn run(&mut self, frames: u64) -> (f64, Duration) {
        (self.first_shown, self.shown, self.commits, self.latency) = (None, 0, 0, Duration::ZERO);
        while self.shown < frames {
            self.step();
        }
        // One for each frame, apart from those that are in flight.
        assert!(self.commits.abs_diff(self.shown) <= 3, "{} commits, {} frames", self.commits, self.shown);
        let took = self.last_shown - self.first_shown.expect("frames");
        let refreshes = took.as_secs_f64() / self.clock.interval().as_secs_f64();
        ((self.shown - 1) as f64 / refreshes.max(1.0), self.latency / u32::try_from(self.shown).expect("few"))
    }
}

/// A single pending frame reaches half of the rate if the GPU and the client together take more
/// than an interval.
#[test]
fn slow_gpus_reach_the_full_rate_by_frames_that_are_drawn_ahead() {
    for (refresh, gpu, before) in [
        (60_000, 2, 1.0),
        (60_000, 5, 1.0),
        (60_000, 9, 1.0),
        (60_000, 12, 1.0),
        (60_000, 15, 0.5),
        (144_000, 2, 1.0),
        (144_000, 5, 0.5),
    ] {
        for pointer_moves in [false, true] {
            let run = |may_draw_ahead| {
                let mut simulation = Simulation::new(refresh, MS * gpu, may_draw_ahead);
                simulation.pointer_moves = pointer_moves;
                simulation.run(10_000)
            };
            let (one, two) = (run(false), run(true));
            let case = format!("{refresh} mHz, {gpu} ms, {pointer_moves}: {one:?}, {two:?}");
            println!("{case}");
            assert!((one.0 - before).abs() < 0.01, "{case}");
            assert!(two.0 > 0.99, "{case}");
        }
    }
}

#[test]
fn gpus_that_are_slower_than_the_display_are_not_idle() {
    let mut simulation = Simulation::new(60_000, MS * 20, true);
    let (rate, _) = simulation.run(1000);
    // 50 frames per second of 60; 30 with one pending frame.
    assert!(rate > 0.8, "{rate}");
}

/// Frames are drawn ahead or not, but not now and then: each change is seen as a stutter.
#[test]
fn slow_clients_do_not_make_it_go_back_and_forth() {
    for (client, gpu) in [(20, 15), (18, 16), (24, 12), (15, 3), (20, 3), (40, 15), (12, 12)] {
        let mut simulation = Simulation::new(60_000, MS * gpu, true);
        simulation.client = Client::AfterCallback(MS * client);
        simulation.run(100);
        let before = simulation.clock.draws_ahead();
        for frame in 0..1000 {
            simulation.run(1);
            assert_eq!(simulation.clock.draws_ahead(), before, "{client} ms, {gpu} ms: frame {frame}");
        }
    }
}

/// A camera's viewer that draws 30 times per second, at any time of the interval. If its commit is
/// always just too late for a vblank, it looks like a client that needs that long.
#[test]
fn small_load_of_a_client_with_its_own_clock_is_steady() {
    let mut drawn_ahead = 0;
    for phase in 0..34 {
        let mut simulation = Simulation::new(60_000, MS * 3, true);
        simulation.client = Client::Timed(simulation.clock.interval() * 2);
        simulation.client_commits = Some(MS * (1000 + phase));
        simulation.run(20);
        let before = simulation.clock.draws_ahead();
        drawn_ahead += u32::from(before);
        for frame in 0..300 {
            simulation.run(1);
            assert_eq!(simulation.clock.draws_ahead(), before, "{phase} ms: frame {frame}");
        }
    }
    assert!(drawn_ahead <= 6, "{drawn_ahead} of 34 phases");
}

#[test]
fn frames_are_drawn_ahead_only_while_the_load_needs_it() {
    for pointer_moves in [false, true] {
        draws_ahead_only_while_the_load_needs_it(pointer_moves);
    }
}

fn draws_ahead_only_while_the_load_needs_it(pointer_moves: bool) {
    let mut simulation = Simulation::new(60_000, MS * 3, true);
    simulation.pointer_moves = pointer_moves;
    let (_, usual) = simulation.run(1000);
    assert!(!simulation.clock.draws_ahead());
    for _ in 0..3 {
        simulation.gpu_time = MS * 15;
        simulation.run(100);
        assert!(simulation.clock.draws_ahead());
        let (rate, _) = simulation.run(1000);
        assert!(rate > 0.99 && simulation.clock.draws_ahead(), "it does not go back and forth: {rate}");
        simulation.gpu_time = MS * 3;
        simulation.run(200);
        assert!(!simulation.clock.draws_ahead());
        let (rate, latency) = simulation.run(1000);
        assert!(rate > 0.99 && latency <= usual + MS, "{rate} {latency:?} {usual:?}");
    }
}

#[test]
fn single_slow_frame_changes_nothing() {
    let mut simulation = Simulation::new(60_000, MS * 5, true);
    for _ in 0..50 {
        simulation.run(20);
        simulation.gpu_time = MS * 25;
        simulation.run(2);
        simulation.gpu_time = MS * 5;
        assert!(!simulation.clock.draws_ahead());
    }
}
