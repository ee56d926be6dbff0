//! The backend without a seat, on devices in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use geom_display::connector_override::ConnectorOverride;
use geom_kms::fake::FakeDevice;
use geom_kms::{CrtcState, DrmFd, Frame};

use super::*;
use geom_display::fallback::{BufferLayout, Choice};
use geom_display::signal_format::SignalFormat;

// Device nodes that exist everywhere, in place of those of GPUs.
const CARD0: &str = "/dev/null";
const CARD1: &str = "/dev/zero";

#[derive(Default)]
pub(crate) struct SeatState {
    pub(crate) gpus: BTreeMap<PathBuf, FakeDevice>,
    /// The firmware's framebuffers among them.
    pub(crate) firmware: Vec<PathBuf>,
    /// The seat gives no device.
    refuses: bool,
    opened: Vec<PathBuf>,
    closed: usize,
    has_input: bool,
    vt: Option<i32>,
}

impl SeatState {
    /// Returns how many devices were given back.
    pub(crate) fn closed(&self) -> usize {
        self.closed
    }
}

/// A seat whose GPUs are devices in memory.
pub(crate) struct FakeSeat(pub(crate) Rc<RefCell<SeatState>>);

impl Seat for FakeSeat {
    fn open_gpu(&mut self, path: &Path) -> io::Result<DrmFd> {
        let mut state = self.0.borrow_mut();
        let fake = state.gpus.get(path).filter(|_| !state.refuses).cloned();
        let fake = fake.ok_or(io::ErrorKind::PermissionDenied)?;
        state.opened.push(path.to_owned());
        Ok(fake.open())
    }

    fn close_gpu(&mut self, _: OwnedFd) -> io::Result<()> {
        self.0.borrow_mut().closed += 1;
        Ok(())
    }

    fn gpu_paths(&self) -> Vec<PathBuf> {
        self.0.borrow().gpus.keys().cloned().collect()
    }

    fn describe(&self, id: u64, path: &Path) -> Candidate {
        let is_firmware = self.0.borrow().firmware.iter().any(|firmware| firmware == path);
        Candidate { is_firmware, ..Candidate::read(id, path) }
    }

    fn suspend_input(&mut self) {
        self.0.borrow_mut().has_input = false;
    }

    fn resume_input(&mut self) -> bool {
        self.0.borrow_mut().has_input = true;
        true
    }

    fn switch_vt(&mut self, vt: i32) -> io::Result<()> {
        self.0.borrow_mut().vt = Some(vt);
        Ok(())
    }
}

struct Rig {
    kms: Kms,
    seat: Rc<RefCell<SeatState>>,
    reactor: Reactor,
    connectors: ConnectorOverrides,
}

fn id(path: &str) -> u64 {
    rustix::fs::stat(path).expect("a device node").st_rdev
}

/// Returns a hotplug event that does not name the connector.
fn any(path: &str) -> Hotplug {
    Hotplug { gpu: id(path), what: Change::Any }
}

impl Rig {
    /// Returns a backend whose seat has these GPUs, each with this number of monitors. None is
    /// open.
    fn new(gpus: &[(&str, usize)]) -> Self {
        let seat = Rc::new(RefCell::new(SeatState { has_input: true, ..SeatState::default() }));
        for (path, monitors) in gpus {
            seat.borrow_mut().gpus.insert(path.into(), FakeDevice::with_outputs(*monitors));
        }
        let kms = Kms::new(Box::new(FakeSeat(seat.clone())), true);
        Self { kms, seat, reactor: Reactor::new().expect("a reactor"), connectors: Default::default() }
    }

    /// As [`Rig::new`], with all GPUs open.
    fn open(gpus: &[(&str, usize)]) -> Self {
        let mut rig = Self::new(gpus);
        let present = gpus.iter().map(|(path, _)| (id(path), (*path).into())).collect();
        let (effects, failures) = rig.with(|kms, cx| kms.open_all(present, cx));
        let opened = rig.open_paths().len();
        assert_eq!((opened, failures), (gpus.len(), vec![]));
        assert!(names(&effects).iter().all(|name| name.starts_with("opened")), "{:?}", names(&effects));
        rig
    }

    fn with<R>(&mut self, call: impl FnOnce(&mut Kms, &Cx<'_>) -> R) -> R {
        let (reactor, connectors) = (&self.reactor, &self.connectors);
        call(&mut self.kms, &Cx { reactor, renderer: RendererPreference::Pixman, connectors })
    }

    fn on(&mut self, event: Event) -> Vec<String> {
        names(&self.with(|kms, cx| kms.on(event, cx)))
    }

    fn fake(&self, path: &str) -> FakeDevice {
        self.seat.borrow().gpus[Path::new(path)].clone()
    }

    fn open_paths(&self) -> Vec<String> {
        self.kms.gpus().map(|gpu| gpu.device.path().display().to_string()).collect()
    }

    fn connected(&self) -> usize {
        let connectors = self.kms.gpus().flat_map(|gpu| gpu.device.connectors());
        connectors.filter(|connector| connector.state.connected).count()
    }

    fn close(&mut self, effects: Effects) {
        for effect in effects {
            if let Effect::CloseGpu(closing) = effect {
                self.kms.close(closing);
            }
        }
    }
}

/// Returns effects as text, for comparison.
fn names(effects: &Effects) -> Vec<String> {
    let name = |effect: &Effect| match effect {
        Effect::SessionPaused => "paused".to_owned(),
        Effect::SessionResumed => "resumed".to_owned(),
        Effect::SeatLost(reason) => format!("seat lost: {reason}"),
        Effect::Reconfigure(cause) => format!("reconfigure: {cause}"),
        Effect::CloseGpu(closing) => format!("close {}", closing.0.gpu.device.path().display()),
        Effect::GpuOpened { path, .. } => format!("opened {}", path.display()),
        Effect::GpuGone { path } => format!("gone {}", path.display()),
        Effect::Notice(text) => format!("notice: {}", text.split(':').next().unwrap_or_default()),
        Effect::RetryOpen { failures, delay, .. } => format!("retry {failures} in {delay:?}"),
    };
    effects.iter().map(name).collect()
}

#[test]
fn gpu_with_more_monitors_is_the_primary_one() {
    let rig = Rig::open(&[(CARD0, 1), (CARD1, 3)]);
    assert_eq!(rig.open_paths(), [CARD1, CARD0]);
    assert_eq!(rig.connected(), 4);
}

#[test]
fn overrides_hold_from_the_start_and_may_change() {
    let mut rig = Rig::new(&[(CARD0, 2)]);
    let over = |name: &str, connected| {
        ConnectorOverrides::from([(
            name.to_owned(),
            ConnectorOverride { connected: Some(connected), edid: None },
        )])
    };
    let name = |rig: &Rig| rig.kms.gpus().next().map(|gpu| gpu.device.connectors()[0].state.name.clone());
    // The name of the first connector of a device in memory.
    rig.connectors = over("DP-1", false);
    assert_eq!(rig.on(Event::GpuAdded { id: id(CARD0), path: CARD0.into() }).len(), 2);
    assert_eq!((name(&rig).as_deref(), rig.connected()), (Some("DP-1"), 1));
    let set = |rig: &mut Rig| names(&rig.with(Kms::set_overrides));
    assert_eq!(set(&mut rig), Vec::<String>::new());
    rig.connectors = over("DP-1", true);
    assert_eq!((set(&mut rig), rig.connected()), (vec!["reconfigure: hotplug".into()], 2));
}

#[test]
fn gpu_that_is_added_is_opened_once() {
    let mut rig = Rig::new(&[(CARD0, 1)]);
    let added = || Event::GpuAdded { id: id(CARD0), path: CARD0.into() };
    assert_eq!(rig.on(added()), ["opened /dev/null", "reconfigure: GPU added"]);
    assert!(rig.on(added()).is_empty());
    assert_eq!(rig.seat.borrow().opened.len(), 1);
    assert!(rig.on(Event::GpuAdded { id: 7, path: "/no/such/device".into() }).is_empty());
}

#[test]
fn gpu_that_the_seat_refuses_is_tried_again_with_growing_delays() {
    let mut rig = Rig::new(&[(CARD0, 1)]);
    rig.seat.borrow_mut().refuses = true;
    let delays = ["100ms", "200ms", "400ms", "800ms", "1.6s", "3.2s"];
    for (failures, delay) in (0..).zip(delays) {
        let effects = rig.with(|kms, cx| kms.add(id(CARD0), CARD0.into(), failures, cx));
        assert_eq!(
            names(&effects),
            ["notice: /dev/null".into(), format!("retry {} in {delay}", failures + 1)]
        );
    }
    let effects = rig.with(|kms, cx| kms.add(id(CARD0), CARD0.into(), 6, cx));
    assert_eq!(names(&effects), ["notice: /dev/null"], "given up");
    rig.seat.borrow_mut().refuses = false;
    let effects = rig.with(|kms, cx| kms.add(id(CARD0), CARD0.into(), 3, cx));
    assert_eq!(names(&effects), ["opened /dev/null", "reconfigure: GPU added"]);
}

#[test]
fn device_that_only_renders_is_closed_quietly_and_not_opened_again() {
    for has_kms in [false, true] {
        let mut rig = Rig::new(&[]);
        // KMS without a CRTC is of no use either.
        let device = FakeDevice::new();
        if !has_kms {
            device.remove_kms();
        }
        rig.seat.borrow_mut().gpus.insert(CARD0.into(), device);
        let (effects, failures) = rig.with(|kms, cx| kms.open_all(vec![(id(CARD0), CARD0.into())], cx));
        assert_eq!((names(&effects), failures), (vec![], vec![]));
        let used = |rig: &Rig| (rig.seat.borrow().opened.len(), rig.seat.borrow().closed);
        assert_eq!(used(&rig), (1, 1));
        let added = || Event::GpuAdded { id: id(CARD0), path: CARD0.into() };
        assert!(rig.on(added()).is_empty());
        rig.on(Event::SessionPaused);
        assert_eq!(rig.on(Event::SessionResumed), ["reconfigure: session resumed", "resumed"]);
        assert_eq!(used(&rig), (1, 1));

        // Its driver is loaded again, with KMS.
        assert!(rig.on(Event::GpuRemoved { id: id(CARD0) }).is_empty());
        rig.seat.borrow_mut().gpus.insert(CARD0.into(), FakeDevice::with_outputs(1));
        assert_eq!(rig.on(added()), ["opened /dev/null", "reconfigure: GPU added"]);
    }
}

#[test]
fn gpus_of_an_inactive_session_are_opened_when_it_is_active() {
    let mut rig = Rig::new(&[(CARD0, 1)]);
    rig.kms = Kms::new(Box::new(FakeSeat(rig.seat.clone())), false);
    rig.seat.borrow_mut().refuses = true;
    let (effects, failures) = rig.with(|kms, cx| kms.open_all(vec![(id(CARD0), CARD0.into())], cx));
    assert_eq!((names(&effects), failures), (vec![], vec![]), "the seat is not asked yet");
    rig.seat.borrow_mut().refuses = false;
    let resumed = rig.on(Event::SessionResumed);
    assert_eq!(resumed, ["opened /dev/null", "reconfigure: session resumed", "resumed"]);
}

#[test]
fn firmware_framebuffer_is_closed_when_its_driver_comes() {
    let mut rig = Rig::new(&[(CARD0, 1), (CARD1, 1)]);
    rig.seat.borrow_mut().firmware = vec![CARD0.into()];
    let (effects, _) = rig.with(|kms, cx| kms.open_all(vec![(id(CARD0), CARD0.into())], cx));
    assert_eq!(names(&effects), ["opened /dev/null"]);
    assert_eq!(rig.kms.firmware_connectors(), [("DP-1".to_owned(), None)].into());
    let effects = rig.with(|kms, cx| kms.on(Event::GpuAdded { id: id(CARD1), path: CARD1.into() }, cx));
    assert_eq!(names(&effects), ["close /dev/null", "opened /dev/zero", "reconfigure: GPU added"]);
    assert_eq!(rig.open_paths(), [CARD1]);
    rig.close(effects);
    assert_eq!(rig.seat.borrow().closed, 1);
    assert!(rig.kms.drives(id(CARD1), None) && rig.kms.firmware_connectors().is_empty());
}

/// Some drivers leave the firmware's framebuffer in place: it would be a display without a monitor.
#[test]
fn firmware_framebuffer_is_not_opened_next_to_its_driver() {
    let mut rig = Rig::new(&[(CARD0, 1), (CARD1, 1)]);
    rig.seat.borrow_mut().firmware = vec![CARD0.into()];
    let present = [CARD0, CARD1].map(|path| (id(path), path.into())).into();
    let (effects, failures) = rig.with(|kms, cx| kms.open_all(present, cx));
    assert_eq!((names(&effects), failures), (vec!["opened /dev/zero".to_owned()], vec![]));
    rig.on(Event::SessionPaused);
    assert_eq!(rig.on(Event::SessionResumed), ["reconfigure: session resumed", "resumed"]);
    assert_eq!(rig.open_paths(), [CARD1]);
}

#[test]
fn notice_of_a_gpu_that_could_not_be_opened_ends_with_the_gpu() {
    let mut rig = Rig::new(&[(CARD0, 1)]);
    rig.seat.borrow_mut().refuses = true;
    let added = || Event::GpuAdded { id: id(CARD0), path: CARD0.into() };
    assert_eq!(rig.on(added()), ["notice: /dev/null", "retry 1 in 100ms"]);
    assert_eq!(rig.on(Event::GpuRemoved { id: id(CARD0) }), ["gone /dev/null"]);
    assert!(rig.on(Event::GpuRemoved { id: id(CARD0) }).is_empty());
    // Opened at a later attempt: not failed any more.
    rig.on(added());
    rig.seat.borrow_mut().refuses = false;
    rig.on(added());
    let effects = rig.with(|kms, cx| kms.on(Event::GpuRemoved { id: id(CARD0) }, cx));
    assert_eq!(names(&effects), ["close /dev/null"]);
}

/// simpledrm's card is removed while its hardware's driver loads.
#[test]
fn gpu_that_is_gone_before_it_is_opened_is_no_failure() {
    let mut rig = Rig::new(&[]);
    let gone = vec![(1, "/dev/dri/card-that-is-gone".into())];
    let (effects, failures) = rig.with(|kms, cx| kms.open_all(gone, cx));
    assert_eq!((names(&effects), failures), (vec![], vec![]));
}

#[test]
fn hotplug_that_the_kernel_and_udev_report_is_handled_once() {
    let mut rig = Rig::open(&[(CARD0, 2)]);
    let fake = rig.fake(CARD0);
    fake.disconnect(fake.connectors()[1]);
    // Two connectors of one GPU: two uevents, one probe.
    assert_eq!(rig.on(Event::Uevents(vec![any(CARD0); 2])), ["reconfigure: hotplug"]);
    assert_eq!(rig.connected(), 1);
    for _ in 0..2 {
        assert!(rig.on(Event::GpuChanged { id: id(CARD0) }).is_empty(), "udev's echo");
    }
    assert_eq!(rig.on(Event::GpuChanged { id: id(CARD0) }), ["reconfigure: hotplug"], "no echo");
    assert!(
        rig.on(Event::Uevents(vec![Hotplug { gpu: 9999, what: Change::Any }])).is_empty(),
        "another seat's GPU"
    );
    assert!(rig.on(Event::GpuChanged { id: 9999 }).is_empty());
}

/// A probe takes tens of milliseconds for each connector, and a second on some hardware.
#[test]
fn hotplug_probes_what_the_kernel_names() {
    let mut rig = Rig::open(&[(CARD0, 3), (CARD1, 1)]);
    let (fake, other) = (rig.fake(CARD0), rig.fake(CARD1));
    let connectors = fake.connectors();
    fake.take_probes();
    other.take_probes();
    let event = |what| Hotplug { gpu: id(CARD0), what };
    let (first, third) = (Change::Connector(connectors[0]), Change::Connector(connectors[2]));
    let events = vec![event(first), event(Change::Property), event(third)];
    assert_eq!(rig.on(Event::Uevents(events)), ["reconfigure: hotplug"]);
    assert_eq!(fake.take_probes(), [connectors[0], connectors[2]]);
    assert_eq!(rig.on(Event::Uevents(vec![event(Change::Property)])), ["reconfigure: hotplug"]);
    assert_eq!(fake.take_probes(), [0; 0]);
    rig.on(Event::Uevents(vec![event(first), event(Change::Any)]));
    assert_eq!(fake.take_probes(), connectors);
    assert_eq!(other.take_probes(), [0; 0]);
}

#[test]
fn hotplug_of_several_gpus_is_one_reconfiguration() {
    let mut rig = Rig::open(&[(CARD0, 1), (CARD1, 1)]);
    for path in [CARD0, CARD1] {
        let fake = rig.fake(path);
        fake.disconnect(fake.connectors()[0]);
    }
    assert_eq!(rig.on(Event::Uevents(vec![any(CARD0), any(CARD1)])), ["reconfigure: hotplug"]);
    assert_eq!(rig.connected(), 0);
}

#[test]
fn removed_gpu_is_closed_after_everything_of_it_is_dropped() {
    let mut rig = Rig::open(&[(CARD0, 1), (CARD1, 1)]);
    let effects = rig.with(|kms, cx| kms.on(Event::GpuRemoved { id: id(CARD0) }, cx));
    assert_eq!(names(&effects), ["close /dev/null"]);
    assert_eq!(rig.open_paths(), [CARD1], "no longer in use");
    assert_eq!(rig.seat.borrow().closed, 0);
    rig.close(effects);
    assert_eq!(rig.seat.borrow().closed, 1);
    assert!(rig.on(Event::GpuRemoved { id: id(CARD0) }).is_empty());
}

#[test]
fn gpu_that_is_still_in_use_is_not_given_back() {
    let mut rig = Rig::open(&[(CARD0, 1)]);
    let _in_use = rig.kms.gpus().next().map(|gpu| gpu.device.fd().clone());
    let effects = rig.with(|kms, cx| kms.on(Event::GpuRemoved { id: id(CARD0) }, cx));
    rig.close(effects);
    assert_eq!(rig.seat.borrow().closed, 0);
}

#[test]
fn paused_session_uses_no_devices_and_looks_again_when_resumed() {
    let mut rig = Rig::open(&[(CARD0, 2)]);
    assert_eq!(rig.on(Event::SessionPaused), ["paused"]);
    assert!(rig.kms.is_paused() && !rig.seat.borrow().has_input);
    // Another GPU and another monitor meanwhile.
    rig.seat.borrow_mut().gpus.insert(CARD1.into(), FakeDevice::with_outputs(1));
    assert!(rig.on(Event::GpuAdded { id: id(CARD1), path: CARD1.into() }).is_empty());
    let fake = rig.fake(CARD0);
    fake.disconnect(fake.connectors()[1]);
    assert!(!rig.kms.is_session_active());
    let resumed = rig.on(Event::SessionResumed);
    assert_eq!(resumed, ["opened /dev/zero", "reconfigure: session resumed", "resumed"]);
    assert!(rig.kms.is_session_active());
    assert!(!rig.kms.is_paused() && rig.seat.borrow().has_input);
    assert_eq!((rig.open_paths().len(), rig.connected()), (2, 2));
}

#[test]
fn resumed_session_sets_everything_again() {
    let mut rig = Rig::open(&[(CARD0, 1)]);
    let mode = enable(&mut rig);
    let is_unchanged = |rig: &Rig| {
        let device = &rig.kms.gpus().next().expect("a GPU").device;
        let choice = Choice { mode, signal: SignalFormat::default(), layout: BufferLayout::Best };
        device.unchanged_state("DP-1", 0, &choice).is_some()
    };
    assert!(is_unchanged(&rig));
    rig.on(Event::SessionPaused);
    rig.on(Event::SessionResumed);
    assert!(!is_unchanged(&rig));
}

#[test]
fn session_that_is_resumed_while_the_system_sleeps_waits_for_its_end() {
    let mut rig = Rig::open(&[(CARD0, 1)]);
    rig.kms.set_asleep(true);
    rig.on(Event::SessionPaused);
    assert_eq!(rig.on(Event::SessionResumed), ["resumed"]);
    assert!(rig.kms.is_paused());
    rig.kms.set_asleep(false);
    assert_eq!(names(&rig.with(|kms, cx| kms.rescan("awake again", cx))), ["reconfigure: awake again"]);
}

#[test]
fn gpus_of_a_lost_seat_are_opened_by_the_next_one() {
    let mut rig = Rig::open(&[(CARD0, 1)]);
    assert_eq!(rig.on(Event::SeatLost("broken pipe".into())), ["paused", "seat lost: broken pipe"]);
    assert!(rig.kms.is_paused() && !rig.seat.borrow().has_input);
    let effects = rig.with(|kms, cx| kms.remove_all(cx));
    assert_eq!(names(&effects), ["close /dev/null"]);
    rig.close(effects);
    let next = Rig::new(&[(CARD0, 1)]);
    rig.kms.replace_seat(Box::new(FakeSeat(next.seat.clone())));
    let resumed = rig.on(Event::SessionResumed);
    assert_eq!(resumed, ["opened /dev/null", "reconfigure: session resumed", "resumed"]);
    assert_eq!((rig.seat.borrow().opened.len(), next.seat.borrow().opened.len()), (1, 1));
}

#[test]
fn vt_is_switched_by_the_seat() {
    let mut rig = Rig::open(&[]);
    rig.kms.switch_vt(3).expect("the seat switches");
    assert_eq!(rig.seat.borrow().vt, Some(3));
}

/// Enables the output of the first GPU. Returns its mode.
fn enable(rig: &mut Rig) -> geom_display::mode::Mode {
    let gpu = rig.kms.gpus_mut().next().expect("a GPU");
    let wanted =
        [("DP-1".to_owned(), gpu.device.connectors()[0].state.modes.clone(), SignalFormat::default())];
    let found = gpu.search(&wanted, &|| std::time::Duration::ZERO).assignments.remove(0);
    let drawable = gpu.drawable(found.crtc, (1920, 1080), 8, found.layout).expect("a buffer");
    let framebuffer = drawable.framebuffer().expect("a framebuffer").clone();
    let state: Option<CrtcState> = gpu.device.crtc_state("DP-1", found.crtc, &found.choice(), framebuffer);
    gpu.device.commit(state.into_iter().collect()).expect("the kernel accepts it");
    found.mode
}

#[test]
fn page_flips_wake_the_event_loop_until_they_are_read() {
    let mut rig = Rig::open(&[(CARD0, 1)]);
    enable(&mut rig);
    let gpu = rig.kms.gpus_mut().next().expect("a GPU");
    let framebuffer = gpu.device.framebuffer(0).expect("a framebuffer").clone();
    let frame = Frame { primary: Some((framebuffer, (1920, 1080))), ..Frame::default() };
    gpu.device.submit(0, &frame).expect("the kernel accepts it");
    let ready = |rig: &Rig| {
        let mut ready = Vec::new();
        rig.reactor.wait(None, Some(Duration::ZERO), &mut ready).expect("epoll");
        ready
    };
    assert_eq!(ready(&rig), []);
    rig.fake(CARD0).complete_flips(Duration::from_millis(16));
    assert_eq!(ready(&rig), [Source::Gpu(id(CARD0))]);
    let mut flips = Vec::new();
    rig.kms.read_page_flips(id(CARD0), &rig.reactor, &mut flips);
    let times: Vec<_> = flips.iter().map(|(crtc, flip)| (*crtc, flip.time)).collect();
    assert_eq!(times, [(0, Duration::from_millis(16))]);
    assert_eq!(ready(&rig), []);
}

#[test]
fn unplugged_gpu_does_not_wake_the_event_loop_for_ever() {
    let mut rig = Rig::open(&[(CARD0, 1)]);
    rig.fake(CARD0).complete_flips(Duration::ZERO);
    rig.fake(CARD0).unplug();
    let mut flips = Vec::new();
    rig.kms.read_page_flips(id(CARD0), &rig.reactor, &mut flips);
    let mut ready = Vec::new();
    rig.reactor.wait(None, Some(Duration::ZERO), &mut ready).expect("epoll");
    assert_eq!((flips, ready), (vec![], vec![]), "it is no longer watched");
    // udev reports the removal later.
    assert_eq!(rig.on(Event::GpuRemoved { id: id(CARD0) }), ["close /dev/null"]);
}
