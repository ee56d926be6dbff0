//! The fallback search: the best state of a GPU's outputs that the kernel accepts.
//!
//! All outputs of the GPU are tested together, as they will be committed. If the kernel refuses the
//! first choice of all, the search goes down:
//!
//! 1. Buffers with a plainer layout, of outputs that were added, then of all.
//! 2. Other CRTCs for the first choices, if some CRTCs cannot show them.
//! 3. The most outputs that can be enabled at all, each with what needs the least; then each gets
//!    the best that leaves the others that, enabled outputs first.
//!
//! With enough time, the third step enables as many outputs as any assignment of CRTCs and modes
//! does, if the kernel refuses an output for what it is itself or because the outputs together need
//! too much. The search ends after [`SEARCH_TIME`] with the best that it knows: test commits take
//! 10 ms on some GPUs, and the event loop waits for them.
//!
//! The kernel is behind [`TestCommit`], so the search is tested against models of kernels.

use std::collections::HashMap;
use std::time::Duration;

use crate::matching;
use crate::mode::Mode;
use crate::signal_format::SignalFormat;

/// The layout of an output's buffers in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum BufferLayout {
    /// The one that is best to render into and to scan out, usually tiled.
    #[default]
    Best,
    /// The driver's own choice, or else linear: it needs the least of the display engine, such as
    /// its buffer memory.
    Plain,
}

/// What an output may be set to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The mode.
    pub mode: Mode,
    /// The signal format.
    pub signal: SignalFormat,
    /// The layout of its buffers.
    pub layout: BufferLayout,
}

impl Choice {
    /// Returns the bits per second that it scans out, by which choices are compared.
    fn load(&self) -> u64 {
        let depth = u64::from(self.signal.bit_depth.unwrap_or(8));
        u64::from(self.mode.area()) * u64::from(self.mode.refresh) / 1000 * depth
    }
}

/// An output that the plan wants enabled.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The name of the output.
    pub name: String,
    /// Modes, best first; not empty.
    pub modes: Vec<Mode>,
    /// Signal formats for each mode, best first; not empty.
    pub signals: Vec<SignalFormat>,
    /// Layouts of buffers, best first; not empty.
    pub layouts: Vec<BufferLayout>,
    /// Indices of the CRTCs that its connector can use.
    pub crtcs: Vec<usize>,
    /// Its present CRTC and what that is set to. Keeping these avoids a modeset.
    pub current: Option<(usize, Choice)>,
    /// Whether the search that was committed last had the same first choice. If the kernel refused
    /// it then, it is not tried again at the cost of other outputs.
    pub settled: bool,
}

impl Request {
    /// Returns what to try, best first.
    ///
    /// All signal formats come before the next mode. With another mode, only the best and the
    /// plainest signal format are worth a test. A plainer layout comes first of all, as it changes
    /// nothing that a person sees.
    fn choices(&self) -> impl Iterator<Item = Choice> + '_ {
        self.modes.iter().enumerate().flat_map(move |(mode_index, mode)| {
            let last = self.signals.len().saturating_sub(1);
            let signals = self.signals.iter().enumerate();
            let tried = signals.filter(move |(index, _)| mode_index == 0 || [0, last].contains(index));
            tried.flat_map(move |(_, signal)| {
                self.layouts.iter().map(move |layout| Choice {
                    mode: *mode,
                    signal: *signal,
                    layout: *layout,
                })
            })
        })
    }

    /// Returns the layout to use if all buffers shall have this one.
    fn layout(&self, layout: BufferLayout) -> BufferLayout {
        let only = self.layouts.first().copied().unwrap_or_default();
        if self.layouts.contains(&layout) {
            layout
        } else {
            only
        }
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
    /// The layout of its buffers.
    pub layout: BufferLayout,
}

impl CrtcAssignment {
    fn new(request: usize, crtc: usize, choice: Choice) -> Self {
        let Choice { mode, signal, layout } = choice;
        Self { request, crtc, mode, signal, layout }
    }

    /// Returns what the CRTC is set to.
    pub fn choice(&self) -> Choice {
        Choice { mode: self.mode, signal: self.signal, layout: self.layout }
    }
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
    /// The search ended before it found a state with it. The kernel refused others, with this
    /// error.
    #[error("the kernel takes too long to say which mode it accepts; the last one it refused: {0}")]
    TimedOut(String),
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

/// How long a search may take. A test commit that has begun is waited for.
pub const SEARCH_TIME: Duration = Duration::from_millis(300);

/// Maximum number of test commits, also if they take no time.
pub const MAX_TESTS: usize = 1000;

struct Search<'a, K> {
    kernel: &'a mut K,
    requests: &'a [Request],
    now: &'a dyn Fn() -> Duration,
    deadline: Duration,
    tests: usize,
    last_error: String,
    /// Tested states, sorted by request, and whether they passed.
    known: Vec<(Vec<CrtcAssignment>, bool)>,
    /// What needs the least on a CRTC, by request, CRTC and layout; `None` if all is refused.
    least: HashMap<(usize, usize, BufferLayout), Option<Choice>>,
}

impl<K: TestCommit> Search<'_, K> {
    fn is_over(&self) -> bool {
        self.tests >= MAX_TESTS || (self.now)() >= self.deadline
    }

    /// Returns whether the kernel accepts a state; false if the search is over.
    fn passes(&mut self, assignments: &[CrtcAssignment]) -> bool {
        let mut sorted = assignments.to_vec();
        sorted.sort_by_key(|one| one.request);
        if let Some((_, passed)) = self.known.iter().find(|(state, _)| *state == sorted) {
            return *passed;
        }
        if self.is_over() {
            return false;
        }
        self.tests += 1;
        let result = self.kernel.test(&sorted);
        let passed = result.is_ok();
        if let Err(error) = result {
            self.last_error = error;
        }
        self.known.push((sorted, passed));
        passed
    }

    /// Returns the first choice of each output that has a CRTC.
    fn first_choices(&self, crtcs: &[Option<usize>]) -> Vec<CrtcAssignment> {
        let first = |(request, wanted): (usize, &Request)| {
            let crtc = crtcs.get(request).copied().flatten()?;
            Some(CrtcAssignment::new(request, crtc, wanted.choices().next()?))
        };
        self.requests.iter().enumerate().filter_map(first).collect()
    }

    /// Tries the first choices with plain buffers: those of outputs that were added, then all.
    fn with_plain_buffers(&mut self, first: &[CrtcAssignment]) -> Option<Vec<CrtcAssignment>> {
        for all in [false, true] {
            let mut plain = first.to_vec();
            for one in &mut plain {
                let Some(wanted) = self.requests.get(one.request) else { continue };
                if all || wanted.current.is_none() {
                    one.layout = wanted.layout(BufferLayout::Plain);
                }
            }
            if plain != first && self.passes(&plain) {
                return Some(plain);
            }
        }
        None
    }

    /// Tries the first choices on other CRTCs, if some CRTCs refuse what is chosen for them.
    fn with_other_crtcs(&mut self, first: &[CrtcAssignment], order: &[usize]) -> Option<Vec<CrtcAssignment>> {
        let is_alone = |search: &mut Self, one: &CrtcAssignment| search.passes(std::slice::from_ref(one));
        if first.iter().all(|one| is_alone(self, one)) {
            // Only the outputs together are refused.
            return None;
        }
        let mut possible = self.requests.to_vec();
        for one in first {
            let (Some(wanted), Some(possible)) =
                (self.requests.get(one.request), possible.get_mut(one.request))
            else {
                continue;
            };
            let alone = |crtc: &usize| self.passes(&[CrtcAssignment::new(one.request, *crtc, one.choice())]);
            possible.crtcs = wanted.crtcs.iter().copied().filter(alone).collect();
        }
        let moved = self.first_choices(&match_crtcs(&possible, order));
        (moved.len() == first.len() && self.passes(&moved)).then_some(moved)
    }

    /// Looks for the highest load for which the kernel accepts all outputs, each with its first
    /// plain choice of at most that load. This takes few tests, and is the result if there is no
    /// time for a better one: near what fits, and not the lowest modes.
    fn with_common_limit(&mut self, first: &[CrtcAssignment]) -> Option<Vec<CrtcAssignment>> {
        let plain = |one: &CrtcAssignment| -> Vec<Choice> {
            let Some(wanted) = self.requests.get(one.request) else { return Vec::new() };
            let layout = wanted.layout(BufferLayout::Plain);
            wanted.choices().filter(|choice| choice.layout == layout).collect()
        };
        let choices: Vec<Vec<Choice>> = first.iter().map(plain).collect();
        let mut limits: Vec<u64> = choices.iter().flatten().map(Choice::load).collect();
        limits.sort_unstable();
        limits.dedup();
        let state = |limit: u64| -> Option<Vec<CrtcAssignment>> {
            let limited = first.iter().zip(&choices).map(|(one, choices)| {
                let below = choices.iter().find(|choice| choice.load() <= limit);
                let choice = below.or_else(|| choices.iter().min_by_key(|choice| choice.load()))?;
                Some(CrtcAssignment::new(one.request, one.crtc, *choice))
            });
            limited.collect()
        };
        let (mut found, mut low, mut high) = (None, 0, limits.len());
        while low < high {
            let middle = low.midpoint(high);
            let tried = limits.get(middle).and_then(|limit| state(*limit))?;
            if self.passes(&tried) {
                (found, low) = (Some(tried), middle + 1);
            } else {
                high = middle;
            }
        }
        found
    }

    /// Returns what needs the least of a CRTC with a layout, out of what the kernel accepts of the
    /// output alone.
    fn least(&mut self, request: usize, crtc: usize, layout: BufferLayout) -> Option<Choice> {
        let key = (request, crtc, layout);
        if let Some(known) = self.least.get(&key) {
            return *known;
        }
        let wanted = self.requests.get(request)?;
        let layout = wanted.layout(layout);
        let mut choices: Vec<Choice> = wanted.choices().filter(|choice| choice.layout == layout).collect();
        choices.sort_by_key(Choice::load);
        let passes = |choice: &Choice| self.passes(&[CrtcAssignment::new(request, crtc, *choice)]);
        let least = choices.into_iter().find(passes);
        if least.is_some() || !self.is_over() {
            self.least.insert(key, least);
        }
        least
    }

    /// Adds outputs of `order`, on every CRTC in turn or not at all, and keeps the state with the
    /// most outputs in `best`.
    fn enable_most(
        &mut self,
        order: &[(usize, Vec<usize>)],
        layout: BufferLayout,
        state: &mut Vec<CrtcAssignment>,
        best: &mut Vec<CrtcAssignment>,
    ) {
        if state.len() > best.len() {
            best.clone_from(state);
        }
        let Some(((request, crtcs), rest)) = order.split_first() else { return };
        for crtc in crtcs {
            if state.len() + order.len() <= best.len() || self.is_over() {
                return;
            }
            if state.iter().any(|other| other.crtc == *crtc) {
                continue;
            }
            let Some(choice) = self.least(*request, *crtc, layout) else { continue };
            state.push(CrtcAssignment::new(*request, *crtc, choice));
            if self.passes(state) {
                self.enable_most(rest, layout, state, best);
            }
            state.pop();
        }
        if state.len() + rest.len() > best.len() {
            self.enable_most(rest, layout, state, best);
        }
    }

    /// Gives each output in this order the best that is accepted with the others as they are.
    /// Returns whether anything changed.
    fn raise(&mut self, accepted: &mut [CrtcAssignment], order: &[usize]) -> bool {
        let mut is_raised = false;
        for request in order {
            let Some(index) = accepted.iter().position(|one| one.request == *request) else { continue };
            let (Some(before), Some(wanted)) = (accepted.get(index).cloned(), self.requests.get(*request))
            else {
                continue;
            };
            let is_free = |crtc: &usize| !accepted.iter().any(|other| other.crtc == *crtc);
            let free: Vec<usize> = wanted.crtcs.iter().copied().filter(is_free).collect();
            for choice in wanted.choices().take_while(|choice| *choice != before.choice()) {
                if let Some(crtc) = self.crtc_for(accepted, index, &before, choice, &free) {
                    if let Some(slot) = accepted.get_mut(index) {
                        *slot = CrtcAssignment::new(*request, crtc, choice);
                    }
                    is_raised = true;
                    break;
                }
            }
        }
        is_raised
    }

    /// Returns the CRTC on which the output at an index of `accepted` gets another choice, with the
    /// others as they are: its own, or one of those that are free.
    fn crtc_for(
        &mut self,
        accepted: &[CrtcAssignment],
        index: usize,
        before: &CrtcAssignment,
        choice: Choice,
        free: &[usize],
    ) -> Option<usize> {
        let passes_on = |search: &mut Self, crtc: usize| {
            let mut tried = accepted.to_vec();
            if let Some(slot) = tried.get_mut(index) {
                *slot = CrtcAssignment::new(before.request, crtc, choice);
            }
            search.passes(&tried)
        };
        if passes_on(self, before.crtc) {
            return Some(before.crtc);
        }
        // What a CRTC accepts of the output alone, the outputs together are refused for: another
        // CRTC would not help.
        let alone = CrtcAssignment::new(before.request, before.crtc, choice);
        if free.is_empty() || self.passes(&[alone]) {
            return None;
        }
        free.iter().copied().find(|crtc| passes_on(self, *crtc))
    }

    /// Raises outputs until nothing more can be raised, so that the same search again comes to the
    /// same result.
    fn improve(&mut self, accepted: &mut [CrtcAssignment], order: &[usize]) {
        while !self.is_over() && self.raise(accepted, order) {}
    }

    /// Returns the present state, if the kernel still accepts it.
    fn last_good(&mut self) -> Vec<CrtcAssignment> {
        let assignment = |(request, wanted): (usize, &Request)| {
            let (crtc, choice) = wanted.current?;
            let is_choice = wanted.choices().any(|other| other == choice);
            let is_valid = is_choice && wanted.crtcs.contains(&crtc);
            is_valid.then(|| CrtcAssignment::new(request, crtc, choice))
        };
        let present: Vec<CrtcAssignment> = self.requests.iter().enumerate().filter_map(assignment).collect();
        let is_accepted = !present.is_empty() && self.passes(&present);
        present.into_iter().filter(|_| is_accepted).collect()
    }

    /// Enables as many outputs as possible, and gives them the best that is accepted together.
    /// Returns the state, and whether the kernel was asked for all that could be enabled.
    fn go_down(
        &mut self,
        order: &[usize],
        crtcs: &[Option<usize>],
        kept: Vec<CrtcAssignment>,
    ) -> (Vec<CrtcAssignment>, bool) {
        let with_crtcs = |request: &usize| {
            let preferred = crtcs.get(*request).copied().flatten();
            let mut possible = self.requests.get(*request)?.crtcs.clone();
            possible.sort_by_key(|crtc| Some(*crtc) != preferred);
            Some((*request, possible))
        };
        let tried: Vec<(usize, Vec<usize>)> = order.iter().filter_map(with_crtcs).collect();
        let possible = crtcs.iter().flatten().count();
        let mut accepted = Vec::new();
        for layout in [BufferLayout::Plain, BufferLayout::Best] {
            if accepted.len() < possible {
                self.enable_most(&tried, layout, &mut Vec::new(), &mut accepted);
            }
        }
        let is_complete = accepted.len() == possible || !self.is_over();
        let error = self.last_error.clone();
        self.raise(&mut accepted, order);
        // Not that of a better mode of an output that is enabled.
        self.last_error = error;
        // A state that was only raised in part is worse than the last good one.
        if kept.len() > accepted.len() || (self.is_over() && kept.len() == accepted.len()) {
            accepted = kept;
        }
        (accepted, is_complete)
    }
}

/// Assigns CRTCs to as many requests as possible, to each the first that it can get. Of two
/// requests, the one that comes first in `order` has precedence.
fn match_crtcs(requests: &[Request], order: &[usize]) -> Vec<Option<usize>> {
    let item = |request: &usize| {
        let wanted = requests.get(*request)?;
        let preferred = wanted.current.map(|(crtc, _)| crtc);
        Some(matching::Item { targets: wanted.crtcs.clone(), preferred })
    };
    let items: Vec<matching::Item> = order.iter().filter_map(item).collect();
    let mut crtcs = vec![None; requests.len()];
    for (request, crtc) in order.iter().zip(matching::assign(&items)) {
        if let Some(slot) = crtcs.get_mut(*request) {
            *slot = crtc;
        }
    }
    crtcs
}

/// Searches for the best state that the kernel accepts. `now` is the time of any clock.
pub fn search(
    requests: &[Request],
    kernel: &mut impl TestCommit,
    now: &dyn Fn() -> Duration,
) -> SearchResult {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    let is_new = |request: &usize| requests.get(*request).is_some_and(|wanted| wanted.current.is_none());
    // Enabled outputs go first: an added one takes nothing from them that they cannot replace.
    order.sort_by_key(is_new);
    let crtcs = match_crtcs(requests, &order);
    let has_crtc = |request: usize| crtcs.get(request).copied().flatten().is_some();
    // Requests without a CRTC take what the others leave.
    order.sort_by_key(|request| !has_crtc(*request));

    let mut search = Search {
        kernel,
        requests,
        now,
        deadline: now() + SEARCH_TIME,
        tests: 0,
        last_error: String::new(),
        known: Vec::new(),
        least: HashMap::new(),
    };
    // Usually one test is enough: every first choice.
    let first = search.first_choices(&crtcs);
    let mut is_complete = true;
    let mut accepted = if first.is_empty() || search.passes(&first) {
        first
    } else {
        let kept = search.last_good();
        let is_settled = requests.iter().all(|wanted| wanted.settled && wanted.current.is_some());
        let mut found = if is_settled && kept.len() == requests.len() {
            kept
        } else if let Some(found) = search.with_plain_buffers(&first) {
            found
        } else if let Some(found) = search.with_other_crtcs(&first, &order) {
            found
        } else {
            // One output alone goes down in few tests anyway.
            let limited = (first.len() > 1).then(|| search.with_common_limit(&first)).flatten();
            let (found, complete) = search.go_down(&order, &crtcs, kept);
            is_complete = complete;
            // What was only raised in part is worse.
            match limited {
                Some(limited) if search.is_over() && limited.len() >= found.len() => limited,
                _ => found,
            }
        };
        let error = search.last_error.clone();
        search.improve(&mut found, &order);
        // Not that of a better mode of an output that is enabled.
        search.last_error = error;
        found
    };
    accepted.sort_by_key(|assignment| assignment.request);
    let failure = |request: usize| match (has_crtc(request), is_complete) {
        (false, _) => Failure::NoCrtc,
        (true, true) => Failure::Refused(search.last_error.clone()),
        (true, false) => Failure::TimedOut(search.last_error.clone()),
    };
    let is_refused = |request: &usize| !accepted.iter().any(|one| one.request == *request);
    let refused = (0..requests.len()).filter(is_refused);
    let failed = refused.map(|request| (request, failure(request))).collect();
    SearchResult { assignments: accepted, failed, tests: search.tests }
}

#[cfg(test)]
mod tests;
