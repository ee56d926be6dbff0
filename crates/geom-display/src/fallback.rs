//! The fallback search: the best state of a GPU's outputs that the kernel accepts.
//!
//! All outputs of the GPU are tested together, as they will be committed. If the kernel refuses
//! them, the search goes down step by step: another CRTC, a lower mode for the output that was
//! added last, lower modes for the others, and finally one output stays disabled. The result says
//! what was given up.
//!
//! The kernel is behind [`TestCommit`], so the search is tested against models of kernels.

use crate::mode::Mode;
use crate::signal_format::SignalFormat;

/// An output that the plan wants enabled.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The name of the output.
    pub name: String,
    /// Modes, best first; not empty.
    pub modes: Vec<Mode>,
    /// Signal formats for each mode, best first; not empty.
    pub signals: Vec<SignalFormat>,
    /// Indices of the CRTCs that its connector can use.
    pub crtcs: Vec<usize>,
    /// Its present CRTC, mode and signal format. Keeping these avoids a modeset.
    pub current: Option<(usize, Mode, SignalFormat)>,
    /// Whether the search that was committed last had the same first choice. If the kernel refused
    /// it then, it is not tried again at the cost of other outputs.
    pub settled: bool,
}

impl Request {
    /// Returns what to try, best first.
    ///
    /// All signal formats come before the next mode. With another mode, only the best and the
    /// plainest signal format are worth a test.
    fn choices(&self) -> impl Iterator<Item = (Mode, SignalFormat)> + '_ {
        self.modes.iter().enumerate().flat_map(move |(mode_index, mode)| {
            let last = self.signals.len().saturating_sub(1);
            let signals = self.signals.iter().enumerate();
            let tried = signals.filter(move |(index, _)| mode_index == 0 || [0, last].contains(index));
            tried.map(|(_, signal)| (*mode, *signal))
        })
    }
}

/// The state of one output in a test commit or a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct CrtcAssignment {
    /// Index of the request.
    pub request: usize,
    /// Index of the CRTC.
    pub crtc: usize,
    /// The mode.
    pub mode: Mode,
    /// The signal format.
    pub signal: SignalFormat,
}

/// Why an output stays disabled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No CRTC is left for it.
    #[error("the GPU has no free CRTC for it: more monitors are connected than it can drive")]
    NoCrtc,
    /// The kernel refuses it, with this error.
    #[error("the kernel refuses every mode of it next to the other monitors: {0}")]
    Refused(String),
}

/// The result of the search.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchResult {
    /// The outputs that passed the test commit, together.
    pub assignments: Vec<CrtcAssignment>,
    /// The outputs that stay disabled, by index of the request.
    pub failed: Vec<(usize, Failure)>,
    /// Number of test commits.
    pub tests: usize,
}

/// A kernel, or a model of one, that answers test commits.
pub trait TestCommit {
    /// Tests a commit that enables exactly these outputs of the GPU.
    ///
    /// # Errors
    ///
    /// Returns as text why the kernel refuses it.
    fn test(&mut self, assignments: &[CrtcAssignment]) -> Result<(), String>;
}

/// Maximum number of test commits. One more tests the present state.
///
/// After that, the search takes what it has: a kernel that refuses everything must not cost the
/// other outputs their image. Improving the result may take as many again.
pub const MAX_TESTS: usize = 400;

struct Search<'a, K> {
    kernel: &'a mut K,
    requests: &'a [Request],
    tests: usize,
    last_error: String,
}

impl<K: TestCommit> Search<'_, K> {
    fn passes(&mut self, assignments: &[CrtcAssignment]) -> bool {
        if self.tests >= MAX_TESTS {
            return false;
        }
        self.tests += 1;
        match self.kernel.test(assignments) {
            Ok(()) => true,
            Err(error) => {
                self.last_error = error;
                false
            }
        }
    }

    /// Adds an output to those that were accepted.
    fn add(&mut self, accepted: &mut Vec<CrtcAssignment>, request: usize, preferred_crtc: usize) -> bool {
        let wanted = &self.requests[request];
        let others = wanted.crtcs.iter().copied().filter(|crtc| *crtc != preferred_crtc);
        let crtcs: Vec<usize> = std::iter::once(preferred_crtc)
            .chain(others)
            .filter(|crtc| !accepted.iter().any(|other| other.crtc == *crtc))
            .collect();
        for (mode, signal) in wanted.choices() {
            for crtc in &crtcs {
                accepted.push(CrtcAssignment { request, crtc: *crtc, mode, signal });
                if self.passes(accepted) {
                    return true;
                }
                accepted.pop();
            }
        }
        false
    }

    /// Adds an output by lowering one of the others, the latest one first.
    fn add_by_lowering_others(
        &mut self,
        accepted: &mut Vec<CrtcAssignment>,
        request: usize,
        preferred_crtc: usize,
    ) -> bool {
        for victim in (0..accepted.len()).rev() {
            let kept = accepted[victim].clone();
            let lower: Vec<(Mode, SignalFormat)> = self.requests[kept.request]
                .choices()
                .skip_while(|(mode, signal)| (mode.index, signal) != (kept.mode.index, &kept.signal))
                .skip(1)
                .collect();
            for (mode, signal) in lower {
                (accepted[victim].mode, accepted[victim].signal) = (mode, signal);
                if self.tests >= MAX_TESTS {
                    break;
                }
                if self.add(accepted, request, preferred_crtc) {
                    return true;
                }
            }
            accepted[victim] = kept;
        }
        false
    }
}

/// Assigns CRTCs to as many requests as possible, to each the first that it can get.
///
/// Augmenting paths (bipartite matching).
fn match_crtcs(requests: &[Request]) -> Vec<Option<usize>> {
    fn augment(
        requests: &[Request],
        request: usize,
        owners: &mut Vec<(usize, usize)>,
        visited: &mut Vec<usize>,
    ) -> bool {
        let wanted = &requests[request];
        let is_taken = |crtc: usize| owners.iter().any(|(owned, _)| *owned == crtc);
        let mut order = wanted.crtcs.clone();
        // The present CRTC first, then free ones: to take another output's CRTC costs it a modeset.
        let own = wanted.current.map(|(crtc, _, _)| crtc);
        order.sort_by_key(|crtc| (Some(*crtc) != own, is_taken(*crtc)));
        for crtc in order {
            if visited.contains(&crtc) {
                continue;
            }
            visited.push(crtc);
            let index = owners.iter().position(|(owned, _)| *owned == crtc);
            match index {
                None => {
                    owners.push((crtc, request));
                    return true;
                }
                Some(index) => {
                    let previous = owners[index].1;
                    if augment(requests, previous, owners, visited) {
                        owners.retain(|(owned, owner)| !(*owned == crtc && *owner == previous));
                        owners.push((crtc, request));
                        return true;
                    }
                }
            }
        }
        false
    }
    let mut owners = Vec::new();
    // Enabled outputs go first: a new one takes no CRTC from them that they cannot replace.
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|request| requests[*request].current.is_none());
    for request in order {
        augment(requests, request, &mut owners, &mut Vec::new());
    }
    (0..requests.len())
        .map(|request| owners.iter().find(|(_, owner)| *owner == request).map(|(crtc, _)| *crtc))
        .collect()
}

impl<K: TestCommit> Search<'_, K> {
    /// Adds all outputs of `order` that can be added, and returns the others.
    fn add_all(
        &mut self,
        accepted: &mut Vec<CrtcAssignment>,
        order: &[usize],
        crtcs: &[Option<usize>],
    ) -> Vec<usize> {
        let mut failed = Vec::new();
        for request in order.iter().copied() {
            let crtc = crtcs[request].or_else(|| self.requests[request].crtcs.first().copied());
            let Some(crtc) = crtc else {
                failed.push(request);
                continue;
            };
            if !self.add(accepted, request, crtc) && !self.add_by_lowering_others(accepted, request, crtc) {
                failed.push(request);
            }
        }
        failed
    }

    fn is_first_choice(&self, one: &CrtcAssignment) -> bool {
        self.requests[one.request].choices().next() == Some((one.mode, one.signal))
    }

    /// Raises what can be raised with all others unchanged, so that the same search again comes to
    /// the same result.
    fn improve(&mut self, accepted: &mut [CrtcAssignment]) {
        let limit = self.tests + MAX_TESTS;
        let mut raised = true;
        while std::mem::take(&mut raised) {
            for index in 0..accepted.len() {
                let before = (accepted[index].mode, accepted[index].signal);
                let wanted = &self.requests[accepted[index].request];
                for (mode, signal) in wanted.choices().take_while(|choice| *choice != before) {
                    if self.tests >= limit {
                        return;
                    }
                    (accepted[index].mode, accepted[index].signal) = (mode, signal);
                    // The search began with this test.
                    if accepted.len() == self.requests.len()
                        && accepted.iter().all(|one| self.is_first_choice(one))
                    {
                        (accepted[index].mode, accepted[index].signal) = before;
                        continue;
                    }
                    self.tests += 1;
                    if self.kernel.test(accepted).is_ok() {
                        raised = true;
                        break;
                    }
                    (accepted[index].mode, accepted[index].signal) = before;
                }
            }
        }
    }

    /// Returns the present state, if the kernel still accepts it.
    fn last_good(&mut self) -> Option<Vec<CrtcAssignment>> {
        let assignment = |(request, wanted): (usize, &Request)| {
            let (crtc, mode, signal) = wanted.current?;
            let is_choice = wanted.choices().any(|choice| choice == (mode, signal));
            let is_valid = is_choice && wanted.crtcs.contains(&crtc);
            is_valid.then_some(CrtcAssignment { request, crtc, mode, signal })
        };
        let present: Vec<CrtcAssignment> = self.requests.iter().enumerate().filter_map(assignment).collect();
        if present.is_empty() {
            return None;
        }
        // Tested even beyond MAX_TESTS: what is on the screens is worth one more.
        self.tests += 1;
        self.kernel.test(&present).is_ok().then_some(present)
    }
}

/// Searches for the best state that the kernel accepts.
pub fn search(requests: &[Request], kernel: &mut impl TestCommit) -> SearchResult {
    let crtcs = match_crtcs(requests);
    let mut search = Search { kernel, requests, tests: 0, last_error: String::new() };
    let mut order: Vec<usize> = (0..requests.len()).collect();
    // Requests without a CRTC take what the others leave. Of the rest, enabled outputs go first.
    order.sort_by_key(|request| (crtcs[*request].is_none(), requests[*request].current.is_none()));

    // Usually one test is enough: every first choice.
    let first_choices: Vec<CrtcAssignment> = requests
        .iter()
        .enumerate()
        .filter_map(|(request, wanted)| {
            let (mode, signal) = wanted.choices().next()?;
            Some(CrtcAssignment { request, crtc: crtcs[request]?, mode, signal })
        })
        .collect();
    let mut accepted = Vec::new();
    let mut refused: Vec<usize> = order.iter().copied().filter(|request| crtcs[*request].is_none()).collect();
    let settled = requests.iter().all(|wanted| wanted.settled && wanted.current.is_some());
    if first_choices.is_empty() || search.passes(&first_choices) {
        accepted = first_choices;
    } else if let Some(kept) =
        settled.then(|| search.last_good()).flatten().filter(|kept| kept.len() == requests.len())
    {
        accepted = kept;
        search.improve(&mut accepted);
    } else {
        refused = search.add_all(&mut accepted, &order, &crtcs);
        // The last good state stays if the new one enables fewer outputs.
        if refused.iter().any(|request| requests[*request].current.is_some()) {
            if let Some(mut kept) = search.last_good() {
                let others: Vec<usize> = order
                    .iter()
                    .copied()
                    .filter(|request| !kept.iter().any(|one| one.request == *request))
                    .collect();
                let still_refused = search.add_all(&mut kept, &others, &crtcs);
                if kept.len() > accepted.len() {
                    (accepted, refused) = (kept, still_refused);
                }
            }
        }
        search.improve(&mut accepted);
    }
    accepted.sort_by_key(|assignment| assignment.request);
    let failure = |request: usize| match crtcs[request] {
        Some(_) => Failure::Refused(search.last_error.clone()),
        None => Failure::NoCrtc,
    };
    let mut failed: Vec<(usize, Failure)> =
        refused.into_iter().map(|request| (request, failure(request))).collect();
    failed.sort_by_key(|(request, _)| *request);
    SearchResult { assignments: accepted, failed, tests: search.tests }
}

#[cfg(test)]
mod tests;
