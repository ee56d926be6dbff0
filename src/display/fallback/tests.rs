//! The search against modelled kernels.

use proptest::prelude::*;

use super::*;
use crate::display::link::{ColorSpace, Colorimetry};

/// A kernel with a limit of bandwidth, per-CRTC limits of size, and modes that it just refuses.
#[derive(Debug, Clone)]
struct Model {
    /// Millions of pixels a second over all CRTCs.
    bandwidth: u64,
    /// Widest mode of each CRTC.
    widest: Vec<u16>,
    /// Indices of modes that fail on any CRTC.
    broken: Vec<usize>,
    /// It knows no colour space but the usual one.
    plain: bool,
}

fn load(mode: &Mode, link: &Link) -> u64 {
    let pixels = u64::from(mode.area()) * u64::from(mode.refresh) / 1_000_000_000;
    pixels * u64::from(link.bit_depth.unwrap_or(8)) / 8
}

/// HDR with so many bits of a colour.
fn hdr(depth: u8) -> Link {
    let space = ColorSpace::Bt2020Pq;
    Link {
        color_space: space,
        colorimetry: Colorimetry::Bt2020Rgb,
        bit_depth: Some(depth),
        ..Link::default()
    }
}

impl Kernel for Model {
    fn test(&mut self, assignments: &[Assignment]) -> Result<(), String> {
        for (place, one) in assignments.iter().enumerate() {
            if assignments[..place].iter().any(|other| other.crtc == one.crtc) {
                return Err("CRTC used twice".into());
            }
            if one.mode.width > self.widest[one.crtc] || self.broken.contains(&one.mode.index) {
                return Err("mode".into());
            }
            if self.plain && one.link.colorimetry != Colorimetry::Default {
                return Err("Colorspace".into());
            }
        }
        let needed: u64 = assignments.iter().map(|assignment| load(&assignment.mode, &assignment.link)).sum();
        if needed > self.bandwidth {
            return Err("bandwidth".into());
        }
        Ok(())
    }
}

fn mode(index: usize, width: u16, height: u16, refresh: u32) -> Mode {
    Mode { index, ..Mode::new(width, height, refresh) }
}

fn ladder() -> Vec<Mode> {
    vec![
        mode(0, 3840, 2160, 60_000),
        mode(1, 3840, 2160, 30_000),
        mode(2, 1920, 1080, 60_000),
        mode(3, 1280, 720, 60_000),
        mode(4, 640, 480, 60_000),
    ]
}

fn request(name: usize, modes: Vec<Mode>, crtcs: Vec<usize>, current: Option<usize>) -> Request {
    linked(name, modes, crtcs, current, Link::default())
}

fn linked(name: usize, modes: Vec<Mode>, crtcs: Vec<usize>, current: Option<usize>, link: Link) -> Request {
    let current = current.zip(modes.first().copied()).map(|(crtc, mode)| (crtc, mode, link));
    Request { name: format!("D{name}"), modes, links: link.ladder(), crtcs, current, settled: false }
}

fn generous(crtcs: usize) -> Model {
    Model { bandwidth: u64::MAX, widest: vec![u16::MAX; crtcs], broken: Vec::new(), plain: false }
}

#[test]
fn the_usual_case_asks_once() {
    let requests = [request(0, ladder(), vec![0, 1], None), request(1, ladder(), vec![0, 1], None)];
    let outcome = search(&requests, &mut generous(2));
    assert_eq!((outcome.tests, outcome.lit.len(), outcome.failed.len()), (1, 2, 0));
}

#[test]
fn refresh_is_given_up_before_size() {
    let mut kernel = Model { bandwidth: 300, ..generous(1) };
    let outcome = search(&[request(0, ladder(), vec![0], None)], &mut kernel);
    assert_eq!(outcome.lit.first().map(|lit| lit.mode.index), Some(1));
}

#[test]
fn bits_are_given_up_before_refresh() {
    // 4K60 takes 497 at 8 bits of a colour, and 621 at 10.
    let requests = [linked(0, ladder(), vec![0], None, hdr(10))];
    let outcome = search(&requests, &mut Model { bandwidth: 600, ..generous(1) });
    let lit = outcome.lit.first().map(|lit| (lit.mode.index, lit.link));
    assert_eq!(lit, Some((0, hdr(8))));
    assert_eq!(outcome.tests, 3);
}

#[test]
fn colours_that_the_kernel_refuses_cost_no_pixel() {
    let requests = [linked(0, ladder(), vec![0], None, hdr(12))];
    let outcome = search(&requests, &mut Model { plain: true, ..generous(1) });
    let lit = outcome.lit.first().map(|lit| (lit.mode.index, lit.link));
    assert_eq!(lit, Some((0, Link { bit_depth: Some(8), ..Link::default() })));
}

#[test]
fn a_newcomer_lowers_others_rather_than_staying_dark() {
    // Room for one at 4K60, not for a second beside it, even the smallest.
    let mut kernel = Model { bandwidth: 500, ..generous(2) };
    let requests = [request(0, ladder(), vec![0, 1], Some(0)), request(1, ladder(), vec![0, 1], None)];
    let outcome = search(&requests, &mut kernel);
    assert_eq!(outcome.lit.len(), 2);
    assert!(outcome.lit[0].mode.index > 0);
}

#[test]
fn no_display_moves_that_need_not() {
    let requests = [request(0, ladder(), vec![0, 1, 2], None), request(1, ladder(), vec![0, 1, 2], Some(0))];
    let outcome = search(&requests, &mut generous(3));
    assert_eq!(outcome.lit.iter().find(|lit| lit.request == 1).map(|lit| lit.crtc), Some(0));
}

/// The same search again: what was lowered for a newcomer is not raised at its cost.
#[test]
fn the_same_again_changes_nothing() {
    let mut kernel = Model { bandwidth: 600, ..generous(2) };
    let mut requests =
        vec![request(0, ladder(), vec![0, 1], None), request(1, ladder(), vec![0, 1], Some(1))];
    let first = search(&requests, &mut kernel);
    assert_eq!(first.lit.iter().map(|lit| lit.mode.index).collect::<Vec<_>>(), [3, 0]);
    for lit in &first.lit {
        requests[lit.request].current = Some((lit.crtc, lit.mode, lit.link));
        requests[lit.request].settled = true;
    }
    assert_eq!(search(&requests, &mut kernel).lit, first.lit);
    // More room is used at once.
    kernel.bandwidth = 700;
    assert_eq!(search(&requests, &mut kernel).lit[0].mode.index, 2);
}

#[test]
fn a_crtc_is_made_free_where_another_will_do() {
    // The lit one holds the only CRTC that the newcomer can use.
    let requests = [request(0, ladder(), vec![0, 1], Some(0)), request(1, ladder(), vec![0], None)];
    let outcome = search(&requests, &mut generous(2));
    assert_eq!(outcome.lit.len(), 2);
}

#[test]
fn a_kernel_that_refuses_everything_is_not_asked_forever() {
    let mut kernel = Model { broken: (0..5).collect(), ..generous(4) };
    let requests: Vec<_> = (0..4).map(|name| request(name, ladder(), vec![0, 1, 2, 3], None)).collect();
    let outcome = search(&requests, &mut kernel);
    assert!(outcome.lit.is_empty() && outcome.failed.len() == 4 && outcome.tests <= MAX_TESTS);
}

fn requests() -> impl Strategy<Value = (Vec<Request>, Model)> {
    let widths = prop::collection::vec(prop_oneof![Just(640u16), Just(1920), Just(u16::MAX)], 1..4);
    let broken = prop::collection::vec(0usize..5, 0..3);
    (widths, 1u64..2000, broken, any::<bool>()).prop_flat_map(|(widest, bandwidth, broken, plain)| {
        let crtcs = widest.len();
        let one = (prop::collection::btree_set(0..crtcs, 0..=crtcs), prop::option::of(0..crtcs), 1usize..=5);
        let link = prop_oneof![Just(Link::default()), Just(hdr(12)), Just(hdr(8))];
        prop::collection::vec((one, link), 0..5).prop_map(move |all| {
            let mut held = Vec::new();
            let requests = all.into_iter().enumerate().map(|(name, ((crtcs, current, modes), link))| {
                let current = current.filter(|crtc| crtcs.contains(crtc) && !held.contains(crtc));
                held.extend(current);
                linked(
                    name,
                    ladder().into_iter().take(modes).collect(),
                    crtcs.into_iter().collect(),
                    current,
                    link,
                )
            });
            (requests.collect(), Model { bandwidth, widest: widest.clone(), broken: broken.clone(), plain })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What the search returns passes the kernel's test as a whole, uses reachable CRTCs and wished
    /// modes, and accounts for every request once.
    #[test]
    fn results_are_sound((requests, mut kernel) in requests()) {
        let outcome = search(&requests, &mut kernel);
        prop_assert!(outcome.lit.is_empty() || kernel.test(&outcome.lit).is_ok());
        prop_assert!(outcome.tests <= MAX_TESTS + 1);
        for lit in &outcome.lit {
            prop_assert!(requests[lit.request].crtcs.contains(&lit.crtc));
            prop_assert!(requests[lit.request].modes.contains(&lit.mode));
            prop_assert!(requests[lit.request].links.contains(&lit.link));
        }
        let mut all: Vec<usize> = outcome.lit.iter().map(|lit| lit.request).collect();
        all.extend(outcome.failed.iter().map(|(request, _)| *request));
        all.sort_unstable();
        prop_assert_eq!(all, (0..requests.len()).collect::<Vec<_>>());
    }

    /// Where one display alone could be lit, never all stay dark.
    #[test]
    fn never_all_dark((requests, kernel) in requests()) {
        let possible = requests.iter().enumerate().any(|(request, wanted)| {
            wanted.modes.iter().any(|mode| {
                let link = wanted.links.last().copied().unwrap_or_default();
                let alone = |crtc: &usize| [Assignment { request, crtc: *crtc, mode: *mode, link }];
                wanted.crtcs.iter().any(|crtc| kernel.clone().test(&alone(crtc)).is_ok())
            })
        });
        let outcome = search(&requests, &mut kernel.clone());
        prop_assert_eq!(outcome.lit.is_empty(), !possible, "{:?}", outcome);
    }

    /// A second search from the result lights no fewer: the last good plan stays.
    #[test]
    fn the_last_good_plan_stays((mut requests, mut kernel) in requests()) {
        let first = search(&requests, &mut kernel);
        for (index, wanted) in requests.iter_mut().enumerate() {
            wanted.current = first.lit.iter().find(|lit| lit.request == index).map(|lit| (lit.crtc, lit.mode, lit.link));
        }
        let second = search(&requests, &mut kernel);
        prop_assert!(second.lit.len() >= first.lit.len(), "{:?} {:?}", first, second);
    }
}
