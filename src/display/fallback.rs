//! The fallback search: what a Gpu can show of what the plan wishes.
//!
//! All displays of the Gpu are tested together, as they will be committed. Where the kernel
//! refuses, the search goes down step by step: another CRTC, a lower mode for the newcomer, lower
//! modes for the others, and last that one display is left off. What was given up is in the result.
//!
//! The kernel is behind [`Kernel`], so that the search is tested against modelled ones.

use super::mode::Mode;

/// A display that the plan wants lit.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub name: String,
    /// Best first; not empty.
    pub modes: Vec<Mode>,
    /// Indices of the CRTCs that its connector can use.
    pub crtcs: Vec<usize>,
    /// The CRTC that drives it now: keeping it avoids a flash.
    pub current: Option<usize>,
}

/// One display's part of what is tested and committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Index into the requests.
    pub request: usize,
    pub crtc: usize,
    pub mode: Mode,
}

/// Why a display stays off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the GPU has no free CRTC for it: fewer monitors can be lit than are plugged in")]
    NoCrtc,
    #[error("the kernel refuses every mode of it beside the other monitors: {0}")]
    Refused(String),
}

/// The result of the search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// What passed the test, all together.
    pub lit: Vec<Assignment>,
    /// Displays left off, as indices into the requests.
    pub failed: Vec<(usize, Failure)>,
    /// How often the kernel was asked.
    pub tests: usize,
}

/// What answers a test commit.
pub trait Kernel {
    /// Whether this set of displays, and no other, could be shown.
    fn test(&mut self, assignments: &[Assignment]) -> Result<(), String>;
}

/// Past so many questions the search takes what it has: a kernel that refuses everything must not
/// cost the others their picture.
pub const MAX_TESTS: usize = 400;

struct Search<'a, K> {
    kernel: &'a mut K,
    requests: &'a [Request],
    tests: usize,
    refusal: String,
}

impl<K: Kernel> Search<'_, K> {
    fn passes(&mut self, assignments: &[Assignment]) -> bool {
        if self.tests >= MAX_TESTS {
            return false;
        }
        self.tests += 1;
        match self.kernel.test(assignments) {
            Ok(()) => true,
            Err(refusal) => {
                self.refusal = refusal;
                false
            }
        }
    }

    /// Lights one more display beside those that are accepted.
    fn add(&mut self, lit: &mut Vec<Assignment>, request: usize, wished_crtc: usize) -> bool {
        let wanted = &self.requests[request];
        let others = wanted.crtcs.iter().copied().filter(|crtc| *crtc != wished_crtc);
        let crtcs: Vec<usize> = std::iter::once(wished_crtc)
            .chain(others)
            .filter(|crtc| !lit.iter().any(|other| other.crtc == *crtc))
            .collect();
        for mode in &wanted.modes {
            for crtc in &crtcs {
                lit.push(Assignment { request, crtc: *crtc, mode: *mode });
                if self.passes(lit) {
                    return true;
                }
                lit.pop();
            }
        }
        false
    }

    /// Makes room for a display by lowering the others, the latest first.
    fn make_room(&mut self, lit: &mut Vec<Assignment>, request: usize, wished_crtc: usize) -> bool {
        for victim in (0..lit.len()).rev() {
            let kept = lit[victim].clone();
            let lower: Vec<Mode> =
                self.requests[kept.request].modes.iter().copied().skip_while(|mode| mode.index != kept.mode.index).skip(1).collect();
            for mode in lower {
                lit[victim].mode = mode;
                if self.tests >= MAX_TESTS {
                    break;
                }
                if self.add(lit, request, wished_crtc) {
                    return true;
                }
            }
            lit[victim] = kept;
        }
        false
    }
}

/// A CRTC for as many requests as possible: each request's first, where one can be found.
///
/// Augmenting paths (bipartite matching).
fn match_crtcs(requests: &[Request]) -> Vec<Option<usize>> {
    fn augment(requests: &[Request], request: usize, owner: &mut Vec<(usize, usize)>, seen: &mut Vec<usize>) -> bool {
        let wanted = &requests[request];
        let is_taken = |crtc: usize| owner.iter().any(|(owned, _)| *owned == crtc);
        let mut order = wanted.crtcs.clone();
        // Its own first, then free ones: taking another's makes that one flash.
        order.sort_by_key(|crtc| (Some(*crtc) != wanted.current, is_taken(*crtc)));
        for crtc in order {
            if seen.contains(&crtc) {
                continue;
            }
            seen.push(crtc);
            let holder = owner.iter().position(|(owned, _)| *owned == crtc);
            match holder {
                None => {
                    owner.push((crtc, request));
                    return true;
                }
                Some(place) => {
                    let previous = owner[place].1;
                    if augment(requests, previous, owner, seen) {
                        owner.retain(|(owned, holder)| !(*owned == crtc && *holder == previous));
                        owner.push((crtc, request));
                        return true;
                    }
                }
            }
        }
        false
    }
    let mut owner = Vec::new();
    // Displays that are lit go first: a newcomer takes no CRTC from them that they can't replace.
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|request| requests[*request].current.is_none());
    for request in order {
        augment(requests, request, &mut owner, &mut Vec::new());
    }
    (0..requests.len())
        .map(|request| owner.iter().find(|(_, holder)| *holder == request).map(|(crtc, _)| *crtc))
        .collect()
}

/// Searches for the best that the kernel accepts.
pub fn search(requests: &[Request], kernel: &mut impl Kernel) -> Outcome {
    let crtcs = match_crtcs(requests);
    let mut outcome = Outcome::default();
    let mut search = Search { kernel, requests, tests: 0, refusal: String::new() };

    // The usual case is one question: everything as wished.
    let wished: Vec<Assignment> = requests
        .iter()
        .enumerate()
        .filter_map(|(request, wanted)| {
            Some(Assignment { request, crtc: crtcs[request]?, mode: *wanted.modes.first()? })
        })
        .collect();
    if wished.is_empty() || search.passes(&wished) {
        outcome.lit = wished;
    } else {
        let mut order: Vec<usize> = wished.iter().map(|assignment| assignment.request).collect();
        order.sort_by_key(|request| requests[*request].current.is_none());
        for request in order {
            let Some(crtc) = crtcs[request] else { continue };
            if !search.add(&mut outcome.lit, request, crtc) && !search.make_room(&mut outcome.lit, request, crtc) {
                outcome.failed.push((request, Failure::Refused(search.refusal.clone())));
            }
        }
        outcome.lit.sort_by_key(|assignment| assignment.request);
    }
    for (request, crtc) in crtcs.iter().enumerate() {
        if crtc.is_none() {
            outcome.failed.push((request, Failure::NoCrtc));
        }
    }
    outcome.failed.sort_by_key(|(request, _)| *request);
    outcome.tests = search.tests;
    outcome
}
