//! The fallback search: what a Gpu can show of what the plan wishes.
//!
//! All displays of the Gpu are tested together, as they will be committed. Where the kernel
//! refuses, the search goes down step by step: another CRTC, a lower mode for the newcomer, lower
//! modes for the others, and last that one display is left off. What was given up is in the result.
//!
//! The kernel is behind [`Kernel`], so that the search is tested against modelled ones.

use super::link::Link;
use super::mode::Mode;

/// A display that the plan wants lit.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub name: String,
    /// Best first; not empty.
    pub modes: Vec<Mode>,
    /// For each of its modes, best first; not empty.
    pub links: Vec<Link>,
    /// Indices of the CRTCs that its connector can use.
    pub crtcs: Vec<usize>,
    /// What drives it now: keeping that avoids a flash.
    pub current: Option<(usize, Mode, Link)>,
    /// The last search had the same first choice: where that was not to be had, it is not asked for again at others' cost.
    pub settled: bool,
}

impl Request {
    /// What to try, best first: all that the link can give up comes before another mode. With another mode only the whole link and
    /// the plainest are worth a question.
    fn choices(&self) -> impl Iterator<Item = (Mode, Link)> + '_ {
        self.modes.iter().enumerate().flat_map(move |(place, mode)| {
            let last = self.links.len().saturating_sub(1);
            let links = self.links.iter().enumerate();
            let worth = links.filter(move |(rung, _)| place == 0 || [0, last].contains(rung));
            worth.map(|(_, link)| (*mode, *link))
        })
    }
}

/// One display's part of what is tested and committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// Index into the requests.
    pub request: usize,
    pub crtc: usize,
    pub mode: Mode,
    pub link: Link,
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

/// Past so many questions, and one about what is lit now, the search takes what it has: a kernel
/// that refuses everything must not cost the others their picture. Raising what it has is given as many again.
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
        for (mode, link) in wanted.choices() {
            for crtc in &crtcs {
                lit.push(Assignment { request, crtc: *crtc, mode, link });
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
            let lower: Vec<(Mode, Link)> = self.requests[kept.request]
                .choices()
                .skip_while(|(mode, link)| (mode.index, link) != (kept.mode.index, &kept.link))
                .skip(1)
                .collect();
            for (mode, link) in lower {
                (lit[victim].mode, lit[victim].link) = (mode, link);
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
    fn augment(
        requests: &[Request],
        request: usize,
        owner: &mut Vec<(usize, usize)>,
        seen: &mut Vec<usize>,
    ) -> bool {
        let wanted = &requests[request];
        let is_taken = |crtc: usize| owner.iter().any(|(owned, _)| *owned == crtc);
        let mut order = wanted.crtcs.clone();
        // Its own first, then free ones: taking another's makes that one flash.
        let own = wanted.current.map(|(crtc, _, _)| crtc);
        order.sort_by_key(|crtc| (Some(*crtc) != own, is_taken(*crtc)));
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

impl<K: Kernel> Search<'_, K> {
    /// Lights what can be lit of `order` beside what is lit already; the others are returned.
    fn add_all(&mut self, lit: &mut Vec<Assignment>, order: &[usize], crtcs: &[Option<usize>]) -> Vec<usize> {
        let mut waiting = Vec::new();
        for request in order.iter().copied() {
            let crtc = crtcs[request].or_else(|| self.requests[request].crtcs.first().copied());
            let Some(crtc) = crtc else {
                waiting.push(request);
                continue;
            };
            if !self.add(lit, request, crtc) && !self.make_room(lit, request, crtc) {
                waiting.push(request);
            }
        }
        waiting
    }

    fn is_first_choice(&self, one: &Assignment) -> bool {
        self.requests[one.request].choices().next() == Some((one.mode, one.link))
    }

    /// Raises what can be raised beside all others as they are: so the same search again comes to the same end.
    fn improve(&mut self, lit: &mut [Assignment]) {
        let bound = self.tests + MAX_TESTS;
        let mut raised = true;
        while std::mem::take(&mut raised) {
            for place in 0..lit.len() {
                let had = (lit[place].mode, lit[place].link);
                let wanted = &self.requests[lit[place].request];
                for (mode, link) in wanted.choices().take_while(|choice| *choice != had) {
                    if self.tests >= bound {
                        return;
                    }
                    (lit[place].mode, lit[place].link) = (mode, link);
                    // That is how the search began.
                    if lit.len() == self.requests.len() && lit.iter().all(|one| self.is_first_choice(one)) {
                        (lit[place].mode, lit[place].link) = had;
                        continue;
                    }
                    self.tests += 1;
                    if self.kernel.test(lit).is_ok() {
                        raised = true;
                        break;
                    }
                    (lit[place].mode, lit[place].link) = had;
                }
            }
        }
    }

    /// What is lit now, where the kernel still accepts it.
    fn last_good(&mut self) -> Option<Vec<Assignment>> {
        let assignment = |(request, wanted): (usize, &Request)| {
            let (crtc, mode, link) = wanted.current?;
            let known = wanted.choices().any(|choice| choice == (mode, link));
            (known && wanted.crtcs.contains(&crtc)).then_some(Assignment { request, crtc, mode, link })
        };
        let lit: Vec<Assignment> = self.requests.iter().enumerate().filter_map(assignment).collect();
        if lit.is_empty() {
            return None;
        }
        // Asked even after the last of the questions: what is on the screen is worth one more.
        self.tests += 1;
        self.kernel.test(&lit).is_ok().then_some(lit)
    }
}

/// Searches for the best that the kernel accepts.
pub fn search(requests: &[Request], kernel: &mut impl Kernel) -> Outcome {
    let crtcs = match_crtcs(requests);
    let mut search = Search { kernel, requests, tests: 0, refusal: String::new() };
    let mut order: Vec<usize> = (0..requests.len()).collect();
    // Those without a CRTC of their own take what the others leave; those that are lit go first.
    order.sort_by_key(|request| (crtcs[*request].is_none(), requests[*request].current.is_none()));

    // The usual case is one question: everything as wished.
    let wished: Vec<Assignment> = requests
        .iter()
        .enumerate()
        .filter_map(|(request, wanted)| {
            let (mode, link) = wanted.choices().next()?;
            Some(Assignment { request, crtc: crtcs[request]?, mode, link })
        })
        .collect();
    let mut lit = Vec::new();
    let mut dark: Vec<usize> = order.iter().copied().filter(|request| crtcs[*request].is_none()).collect();
    let settled = requests.iter().all(|wanted| wanted.settled && wanted.current.is_some());
    if wished.is_empty() || search.passes(&wished) {
        lit = wished;
    } else if let Some(kept) =
        settled.then(|| search.last_good()).flatten().filter(|kept| kept.len() == requests.len())
    {
        lit = kept;
        search.improve(&mut lit);
    } else {
        dark = search.add_all(&mut lit, &order, &crtcs);
        // The last good plan stays where the new one would light fewer.
        if dark.iter().any(|request| requests[*request].current.is_some()) {
            if let Some(mut kept) = search.last_good() {
                let others: Vec<usize> = order
                    .iter()
                    .copied()
                    .filter(|request| !kept.iter().any(|lit| lit.request == *request))
                    .collect();
                let still_dark = search.add_all(&mut kept, &others, &crtcs);
                if kept.len() > lit.len() {
                    (lit, dark) = (kept, still_dark);
                }
            }
        }
        search.improve(&mut lit);
    }
    lit.sort_by_key(|assignment| assignment.request);
    let failure = |request: usize| match crtcs[request] {
        Some(_) => Failure::Refused(search.refusal.clone()),
        None => Failure::NoCrtc,
    };
    let mut failed: Vec<(usize, Failure)> =
        dark.into_iter().map(|request| (request, failure(request))).collect();
    failed.sort_by_key(|(request, _)| *request);
    Outcome { lit, failed, tests: search.tests }
}

#[cfg(test)]
mod tests;
