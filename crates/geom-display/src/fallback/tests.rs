//! The search against models of kernels.

use geom_color::color_space::ColorSpace;
use proptest::prelude::*;

use super::*;
use crate::signal_format::Colorimetry;

/// A kernel with a bandwidth limit, a maximum width for each CRTC, and modes that it always
/// refuses.
#[derive(Debug, Clone)]
struct Model {
    /// Millions of pixels per second at 8 bits per color, over all CRTCs.
    bandwidth: u64,
    /// Maximum width of each CRTC.
    max_widths: Vec<u16>,
    /// Indices of modes that fail on any CRTC.
    refused_modes: Vec<usize>,
    /// Whether only the default colorimetry is accepted.
    default_colorimetry_only: bool,
    /// CRTCs that accept only plain buffers.
    plain_crtcs: Vec<usize>,
    /// Blocks of the display engine's buffer. An output takes two of them, one with plain buffers.
    blocks: usize,
}

fn load(mode: &Mode, signal: &SignalFormat) -> u64 {
    let pixels = u64::from(mode.area()) * u64::from(mode.refresh) / 1_000_000_000;
    pixels * u64::from(signal.bit_depth.unwrap_or(8)) / 8
}

/// Returns an HDR signal with this number of bits per color.
fn hdr(depth: u8) -> SignalFormat {
    let space = ColorSpace::Bt2020Pq;
    SignalFormat {
        color_space: space,
        colorimetry: Colorimetry::Bt2020Rgb,
        bit_depth: Some(depth),
        ..SignalFormat::default()
    }
}

impl TestCommit for Model {
    fn test(&mut self, assignments: &[CrtcAssignment]) -> Result<(), String> {
        for (index, one) in assignments.iter().enumerate() {
            if assignments[..index].iter().any(|other| other.crtc == one.crtc) {
                return Err("CRTC used twice".into());
            }
            if one.mode.width > self.max_widths[one.crtc] || self.refused_modes.contains(&one.mode.index) {
                return Err("mode".into());
            }
            let is_plain = one.layout == BufferLayout::Plain;
            if !is_plain && self.plain_crtcs.contains(&one.crtc) {
                return Err("layout".into());
            }
            if self.default_colorimetry_only && one.signal.colorimetry != Colorimetry::Default {
                return Err("Colorspace".into());
            }
        }
        let needed: u64 =
            assignments.iter().map(|assignment| load(&assignment.mode, &assignment.signal)).sum();
        if needed > self.bandwidth {
            return Err("bandwidth".into());
        }
        let blocks = |one: &CrtcAssignment| if one.layout == BufferLayout::Plain { 1 } else { 2 };
        if assignments.iter().map(blocks).sum::<usize>() > self.blocks {
            return Err("display buffer".into());
        }
        Ok(())
    }
}

fn mode(index: usize, width: u16, height: u16, refresh: u32) -> Mode {
    Mode { index, ..Mode::new(width, height, refresh) }
}

fn modes() -> Vec<Mode> {
    vec![
        mode(0, 3840, 2160, 60_000),
        mode(1, 3840, 2160, 30_000),
        mode(2, 1920, 1080, 60_000),
        mode(3, 1280, 720, 60_000),
        mode(4, 640, 480, 60_000),
    ]
}

fn request(name: usize, modes: Vec<Mode>, crtcs: Vec<usize>, current: Option<usize>) -> Request {
    request_with(name, modes, crtcs, current, SignalFormat::default())
}

fn request_with(
    name: usize,
    modes: Vec<Mode>,
    crtcs: Vec<usize>,
    current: Option<usize>,
    signal: SignalFormat,
) -> Request {
    let choice = |mode| Choice { mode, signal, layout: BufferLayout::Best };
    let current = current.zip(modes.first().copied()).map(|(crtc, mode)| (crtc, choice(mode)));
    let layouts = vec![BufferLayout::Best];
    let signals = signal.fallbacks();
    Request { name: format!("D{name}"), modes, signals, layouts, crtcs, current, settled: false }
}

fn unlimited(crtcs: usize) -> Model {
    Model {
        bandwidth: u64::MAX,
        max_widths: vec![u16::MAX; crtcs],
        refused_modes: Vec::new(),
        default_colorimetry_only: false,
        plain_crtcs: Vec::new(),
        blocks: usize::MAX,
    }
}

/// Searches with enough time.
fn search(requests: &[Request], kernel: &mut impl TestCommit) -> SearchResult {
    super::search(requests, kernel, &|| Duration::ZERO)
}

/// Returns a request that may have plain buffers.
fn with_layouts(request: Request) -> Request {
    Request { layouts: vec![BufferLayout::Best, BufferLayout::Plain], ..request }
}

#[test]
fn one_test_is_enough_if_everything_is_accepted() {
    let requests = [request(0, modes(), vec![0, 1], None), request(1, modes(), vec![0, 1], None)];
    let result = search(&requests, &mut unlimited(2));
    assert_eq!((result.tests, result.assignments.len(), result.failed.len()), (1, 2, 0));
}

#[test]
fn refresh_rate_is_lowered_before_size() {
    let mut kernel = Model { bandwidth: 300, ..unlimited(1) };
    let result = search(&[request(0, modes(), vec![0], None)], &mut kernel);
    assert_eq!(result.assignments.first().map(|one| one.mode.index), Some(1));
}

#[test]
fn bit_depth_is_lowered_before_refresh_rate() {
    // 4K60 takes 497 at 8 bits per color, and 621 at 10.
    let requests = [request_with(0, modes(), vec![0], None, hdr(10))];
    let result = search(&requests, &mut Model { bandwidth: 600, ..unlimited(1) });
    let found = result.assignments.first().map(|one| (one.mode.index, one.signal));
    assert_eq!(found, Some((0, hdr(8))));
    assert_eq!(result.tests, 3);
}

#[test]
fn refused_colorimetry_does_not_lower_the_mode() {
    let requests = [request_with(0, modes(), vec![0], None, hdr(12))];
    let result = search(&requests, &mut Model { default_colorimetry_only: true, ..unlimited(1) });
    let found = result.assignments.first().map(|one| (one.mode.index, one.signal));
    assert_eq!(found, Some((0, SignalFormat { bit_depth: Some(8), ..SignalFormat::default() })));
}

#[test]
fn new_output_lowers_others_rather_than_stay_disabled() {
    // Enough for one at 4K60, and then not even for a second one at its smallest mode.
    let mut kernel = Model { bandwidth: 500, ..unlimited(2) };
    let requests = [request(0, modes(), vec![0, 1], Some(0)), request(1, modes(), vec![0, 1], None)];
    let result = search(&requests, &mut kernel);
    assert_eq!(result.assignments.len(), 2);
    assert!(result.assignments[0].mode.index > 0);
}

#[test]
fn enabled_output_keeps_its_crtc() {
    let requests = [request(0, modes(), vec![0, 1, 2], None), request(1, modes(), vec![0, 1, 2], Some(0))];
    let result = search(&requests, &mut unlimited(3));
    let crtc = result.assignments.iter().find(|one| one.request == 1).map(|one| one.crtc);
    assert_eq!(crtc, Some(0));
}

/// A mode that was lowered for a new output is not raised at its cost.
#[test]
fn repeated_search_changes_nothing() {
    let mut kernel = Model { bandwidth: 600, ..unlimited(2) };
    let mut requests = vec![request(0, modes(), vec![0, 1], None), request(1, modes(), vec![0, 1], Some(1))];
    let first = search(&requests, &mut kernel);
    assert_eq!(first.assignments.iter().map(|one| one.mode.index).collect::<Vec<_>>(), [3, 0]);
    for one in &first.assignments {
        requests[one.request].current = Some((one.crtc, one.choice()));
        requests[one.request].settled = true;
    }
    assert_eq!(search(&requests, &mut kernel).assignments, first.assignments);
    // More bandwidth is used at once.
    kernel.bandwidth = 700;
    assert_eq!(search(&requests, &mut kernel).assignments[0].mode.index, 2);
}

#[test]
fn enabled_output_changes_its_crtc_for_one_that_has_no_other() {
    let requests = [request(0, modes(), vec![0, 1], Some(0)), request(1, modes(), vec![0], None)];
    let result = search(&requests, &mut unlimited(2));
    assert_eq!(result.assignments.len(), 2);
}

#[test]
fn number_of_tests_is_bounded_if_everything_is_refused() {
    let mut kernel = Model { refused_modes: (0..5).collect(), ..unlimited(4) };
    let requests: Vec<_> = (0..4).map(|name| request(name, modes(), vec![0, 1, 2, 3], None)).collect();
    let result = search(&requests, &mut kernel);
    assert!(result.assignments.is_empty() && result.failed.len() == 4 && result.tests <= MAX_TESTS);
}

#[test]
fn added_output_gets_plain_buffers_before_a_lower_mode() {
    let mut kernel = Model { blocks: 3, ..unlimited(2) };
    let all = [request(0, modes(), vec![0, 1], Some(0)), request(1, modes(), vec![0, 1], None)];
    let result = search(&all.map(with_layouts), &mut kernel);
    let found: Vec<_> = result.assignments.iter().map(|one| (one.mode.index, one.layout)).collect();
    assert_eq!(found, [(0, BufferLayout::Best), (0, BufferLayout::Plain)]);
}

#[test]
fn all_outputs_get_plain_buffers_before_a_lower_mode() {
    let mut kernel = Model { blocks: 2, ..unlimited(2) };
    let all = [request(0, modes(), vec![0, 1], Some(0)), request(1, modes(), vec![0, 1], None)];
    let mut all = all.map(with_layouts);
    let result = search(&all, &mut kernel);
    let found: Vec<_> = result.assignments.iter().map(|one| (one.mode.index, one.layout)).collect();
    assert_eq!(found, [(0, BufferLayout::Plain); 2]);
    // When one of them is gone, the other has the best layout again.
    all[0].current = Some((0, result.assignments[0].choice()));
    let result = search(&all[..1], &mut kernel);
    assert_eq!(result.assignments[0].layout, BufferLayout::Best);
}

#[test]
fn crtc_with_plain_buffers_only_does_not_lower_the_mode() {
    let mut kernel = Model { plain_crtcs: vec![1], ..unlimited(2) };
    let all = [request(0, modes(), vec![0], None), request(1, modes(), vec![1], None)].map(with_layouts);
    let result = search(&all, &mut kernel);
    let found: Vec<_> = result.assignments.iter().map(|one| (one.mode.index, one.layout)).collect();
    assert_eq!(found, [(0, BufferLayout::Best), (0, BufferLayout::Plain)]);
}

#[test]
fn outputs_change_crtcs_if_these_refuse_their_first_choices() {
    let mut kernel = Model { max_widths: vec![1920, u16::MAX], ..unlimited(2) };
    let requests =
        [request(0, modes(), vec![0, 1], None), request(1, modes()[2..].to_vec(), vec![0, 1], None)];
    let result = search(&requests, &mut kernel);
    let found: Vec<_> = result.assignments.iter().map(|one| (one.crtc, one.mode.index)).collect();
    assert_eq!(found, [(1, 0), (0, 2)]);
}

/// With 30 modes each, four outputs have 810,000 combinations.
#[test]
fn outputs_with_many_modes_are_all_enabled_if_their_lowest_fit() {
    let size = |index: u16| mode(index.into(), 3840 - 100 * index, 2160 - 50 * index, 60_000);
    let many: Vec<Mode> = (0..30).map(size).collect();
    let smallest = load(&many[29], &SignalFormat::default());
    let mut kernel = Model { bandwidth: 4 * smallest, ..unlimited(4) };
    let requests: Vec<_> = (0..4).map(|name| request(name, many.clone(), vec![0, 1, 2, 3], None)).collect();
    let result = search(&requests, &mut kernel);
    assert_eq!(result.assignments.len(), 4, "{} tests", result.tests);
    assert!(result.tests < 300, "{}", result.tests);
}

/// A kernel that takes a while for each test.
struct Slow<'a> {
    kernel: Model,
    clock: &'a std::cell::Cell<Duration>,
    takes: Duration,
}

impl TestCommit for Slow<'_> {
    fn test(&mut self, assignments: &[CrtcAssignment]) -> Result<(), String> {
        self.clock.set(self.clock.get() + self.takes);
        self.kernel.test(assignments)
    }
}

fn slow_search(requests: &[Request], kernel: Model, takes: Duration) -> (SearchResult, Duration) {
    let clock = std::cell::Cell::new(Duration::from_secs(7));
    let result = super::search(requests, &mut Slow { kernel, clock: &clock, takes }, &|| clock.get());
    (result, clock.get() - Duration::from_secs(7))
}

#[test]
fn search_ends_in_time_and_keeps_the_last_good_state() {
    let mut kernel = Model { bandwidth: 500, ..unlimited(2) };
    let requests = [request(0, modes(), vec![0, 1], Some(0)), request(1, modes(), vec![0, 1], None)];
    let takes = Duration::from_millis(120);
    let (result, took) = slow_search(&requests, kernel.clone(), takes);
    assert!(took < SEARCH_TIME + takes, "{took:?}");
    let found: Vec<_> = result.assignments.iter().map(|one| (one.request, one.mode.index)).collect();
    assert_eq!(found, [(0, 0)], "the enabled output stays as it is");
    assert!(matches!(result.failed[..], [(1, Failure::TimedOut(_))]), "{:?}", result.failed);
    // With 10 ms for each test, both are enabled.
    let (result, took) = slow_search(&requests, kernel.clone(), Duration::from_millis(10));
    assert!(took <= SEARCH_TIME && kernel.test(&result.assignments).is_ok());
    assert_eq!(result.assignments.len(), 2);
}

/// With 10 ms for each test, three outputs of many modes get modes near what fits, and not their
/// lowest.
#[test]
fn outputs_of_a_slow_kernel_do_not_get_their_lowest_modes() {
    let many = || -> Vec<Mode> {
        let sizes =
            (0..30_u16).map(|index| mode(index.into(), 3840 - index * 110, 2160 - index * 60, 60_000));
        sizes.collect()
    };
    let requests: Vec<Request> = (0..3).map(|index| request(index, many(), vec![0, 1, 2, 3], None)).collect();
    let kernel = Model { bandwidth: 700, ..unlimited(4) };
    let (result, took) = slow_search(&requests, kernel.clone(), Duration::from_millis(10));
    assert!(took <= SEARCH_TIME);
    let widths: Vec<u16> = result.assignments.iter().map(|one| one.mode.width).collect();
    assert!(widths.len() == 3 && widths.iter().all(|width| *width >= 1900), "{widths:?}");
    // One more than an enabled one, which is not lowered further than needed either.
    let mut requests = requests;
    requests.truncate(2);
    requests[0] = request(0, many(), vec![0, 1], Some(0));
    let (result, _) = slow_search(&requests, kernel, Duration::from_millis(25));
    let widths: Vec<u16> = result.assignments.iter().map(|one| one.mode.width).collect();
    assert!(widths.len() == 2 && widths.iter().all(|width| *width >= 1900), "{widths:?}");
}

/// Returns the most outputs that a kernel accepts together, by trying everything.
fn most_outputs(
    requests: &[Request],
    kernel: &mut Model,
    from: usize,
    state: &mut Vec<CrtcAssignment>,
) -> usize {
    let Some(wanted) = requests.get(from) else { return state.len() };
    let possible = requests.len() - from;
    let mut most = most_outputs(requests, kernel, from + 1, state);
    let choices: Vec<Choice> = wanted.choices().collect();
    for crtc in &wanted.crtcs {
        for choice in &choices {
            if most == state.len() + possible {
                return most;
            }
            state.push(CrtcAssignment::new(from, *crtc, *choice));
            // Nothing that is refused is accepted with more outputs.
            if kernel.test(state).is_ok() {
                most = most.max(most_outputs(requests, kernel, from + 1, state));
            }
            state.pop();
        }
    }
    most
}

/// Returns whether every output can have its first choice, on some CRTCs.
fn all_first_choices(requests: &[Request], kernel: &mut Model, state: &mut Vec<CrtcAssignment>) -> bool {
    let Some(wanted) = requests.get(state.len()) else { return true };
    let Some(choice) = wanted.choices().next() else { return false };
    wanted.crtcs.iter().any(|crtc| {
        state.push(CrtcAssignment::new(state.len(), *crtc, choice));
        let fits = kernel.test(state).is_ok() && all_first_choices(requests, kernel, state);
        state.pop();
        fits
    })
}

fn requests() -> impl Strategy<Value = (Vec<Request>, Model)> {
    let widths = prop::collection::vec(prop_oneof![Just(640u16), Just(1920), Just(u16::MAX)], 1..4);
    let refused_modes = prop::collection::vec(0usize..5, 0..3);
    let plain_crtcs = prop::collection::vec(0usize..4, 0..3);
    let kernel = (widths, 1u64..2000, refused_modes, any::<bool>(), plain_crtcs, 0usize..9);
    kernel.prop_flat_map(|(max_widths, bandwidth, refused_modes, colorimetry, plain_crtcs, blocks)| {
        let crtcs = max_widths.len();
        let modes_of = (0usize..3, 1usize..=5);
        let one = (prop::collection::btree_set(0..crtcs, 0..=crtcs), prop::option::of(0..crtcs), modes_of);
        let signal = prop_oneof![Just(SignalFormat::default()), Just(hdr(12)), Just(hdr(8))];
        prop::collection::vec((one, signal, any::<bool>()), 0..5).prop_map(move |all| {
            let mut held = Vec::new();
            let all = all.into_iter().enumerate();
            let requests = all.map(|(name, ((crtcs, current, (from, count)), signal, has_layouts))| {
                let current = current.filter(|crtc| crtcs.contains(crtc) && !held.contains(crtc));
                held.extend(current);
                let modes = modes().into_iter().skip(from).take(count).collect();
                let request = request_with(name, modes, crtcs.into_iter().collect(), current, signal);
                if has_layouts {
                    with_layouts(request)
                } else {
                    request
                }
            });
            let kernel = Model {
                bandwidth,
                max_widths: max_widths.clone(),
                refused_modes: refused_modes.clone(),
                default_colorimetry_only: colorimetry,
                plain_crtcs: plain_crtcs.clone(),
                blocks,
            };
            (requests.collect(), kernel)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// The result passes the kernel's test as a whole, uses possible CRTCs, modes and signal
    /// formats, and contains every request once.
    #[test]
    fn results_are_valid((requests, mut kernel) in requests()) {
        let result = search(&requests, &mut kernel);
        prop_assert!(result.assignments.is_empty() || kernel.test(&result.assignments).is_ok());
        prop_assert!(result.tests <= MAX_TESTS);
        for one in &result.assignments {
            prop_assert!(requests[one.request].crtcs.contains(&one.crtc));
            prop_assert!(requests[one.request].modes.contains(&one.mode));
            prop_assert!(requests[one.request].signals.contains(&one.signal));
        }
        let mut all: Vec<usize> = result.assignments.iter().map(|one| one.request).collect();
        all.extend(result.failed.iter().map(|(request, _)| *request));
        all.sort_unstable();
        prop_assert_eq!(all, (0..requests.len()).collect::<Vec<_>>());
    }

    /// If any output could be enabled alone, at least one is enabled.
    #[test]
    fn one_output_is_enabled_if_possible((requests, kernel) in requests()) {
        let is_possible = requests.iter().enumerate().any(|(request, wanted)| {
            wanted.modes.iter().any(|mode| {
                let signal = wanted.signals.last().copied().unwrap_or_default();
                let layout = wanted.layout(BufferLayout::Plain);
                let alone = |crtc: &usize| {
                    [CrtcAssignment::new(request, *crtc, Choice { mode: *mode, signal, layout })]
                };
                wanted.crtcs.iter().any(|crtc| kernel.clone().test(&alone(crtc)).is_ok())
            })
        });
        let result = search(&requests, &mut kernel.clone());
        prop_assert_eq!(result.assignments.is_empty(), !is_possible, "{:?}", result);
    }

    /// As many outputs are enabled as any assignment of CRTCs, modes, signals and layouts enables.
    #[test]
    fn search_finds_every_assignment_that_fits((requests, kernel) in requests()) {
        let most = most_outputs(&requests, &mut kernel.clone(), 0, &mut Vec::new());
        let result = search(&requests, &mut kernel.clone());
        prop_assert_eq!(result.assignments.len(), most, "{:?}", result);
        if all_first_choices(&requests, &mut kernel.clone(), &mut Vec::new()) {
            let is_first = |one: &CrtcAssignment| requests[one.request].choices().next() == Some(one.choice());
            prop_assert!(result.assignments.iter().all(is_first), "{:?}", result);
        }
    }

    /// No output can have a better choice with the others as they are.
    #[test]
    fn result_cannot_be_raised((requests, mut kernel) in requests()) {
        let result = search(&requests, &mut kernel);
        for (index, one) in result.assignments.iter().enumerate() {
            for choice in requests[one.request].choices().take_while(|choice| *choice != one.choice()) {
                let mut raised = result.assignments.clone();
                raised[index] = CrtcAssignment::new(one.request, one.crtc, choice);
                prop_assert!(kernel.test(&raised).is_err(), "{:?} {:?}", result, choice);
            }
        }
    }

    /// The search ends in time, and what it found until then is valid and enables no fewer outputs
    /// than before.
    #[test]
    fn slow_kernels_end_the_search((requests, mut kernel) in requests(), takes in 1u64..150) {
        let takes = Duration::from_millis(takes);
        let (result, took) = slow_search(&requests, kernel.clone(), takes);
        prop_assert!(took < SEARCH_TIME + takes);
        prop_assert!(result.assignments.is_empty() || kernel.test(&result.assignments).is_ok());
    }

    /// A second search from the result enables no fewer outputs: the last good state stays.
    #[test]
    fn repeated_search_enables_no_fewer((mut requests, mut kernel) in requests()) {
        let first = search(&requests, &mut kernel);
        for (index, wanted) in requests.iter_mut().enumerate() {
            let found = first.assignments.iter().find(|one| one.request == index);
            wanted.current = found.map(|one| (one.crtc, one.choice()));
        }
        let second = search(&requests, &mut kernel);
        prop_assert!(second.assignments.len() >= first.assignments.len(), "{:?} {:?}", first, second);
    }
}
