//! What the kernel accepts of a plan, found by test commits: the outputs to enable with their mode
//! and signal, and those that stay disabled.

use std::collections::BTreeMap;

use geom_display::fallback::{BufferLayout, Choice, SearchResult};
use geom_display::identity::Monitor;
use geom_display::lifecycle::Event as LifecycleEvent;
use geom_display::mode::Mode;
use geom_display::plan::{logical_size, PlanTarget, PlannedOutput};
use geom_display::signal_format::SignalFormat;
use geom_kms::search::OutputRequest;

use super::scanout::Target;

/// One output as the search found that the kernel accepts it.
pub struct ResolvedOutput {
    pub planned: PlannedOutput,
    pub target: Target,
    pub mode: Mode,
    pub signal: SignalFormat,
    /// The layout of its buffers.
    pub layout: BufferLayout,
    /// Settings that could not be applied, and why.
    pub warnings: Vec<String>,
    pub modes: Vec<Mode>,
    pub monitor: Monitor,
}

/// The result of a probe, a plan and the kernel's test commits.
#[derive(Default)]
pub struct Resolution {
    pub enabled: Vec<ResolvedOutput>,
    /// Outputs that are not enabled, and the lifecycle event that says why.
    pub disabled: Vec<(String, LifecycleEvent)>,
    /// What the search of each GPU was asked for.
    pub requests: BTreeMap<u64, Vec<OutputRequest>>,
    /// Messages for the user, if the resolution is applied.
    pub notices: Vec<String>,
}

/// Returns the modes to try for an output, best first, and the signal.
fn wanted(planned: &PlannedOutput) -> (&[Mode], SignalFormat) {
    match &planned.target {
        PlanTarget::Enabled { modes, signal } => (modes, *signal),
        PlanTarget::Disabled(_) => (&[], SignalFormat::default()),
    }
}

/// Returns what the search of a GPU is asked for.
pub fn search_requests(planned: &[&PlannedOutput]) -> Vec<OutputRequest> {
    let request = |planned: &&PlannedOutput| {
        let (modes, signal) = wanted(planned);
        (planned.name.clone(), modes.to_vec(), signal)
    };
    planned.iter().map(request).collect()
}

impl ResolvedOutput {
    /// Returns what its CRTC is set to.
    pub fn choice(&self) -> Choice {
        Choice { mode: self.mode, signal: self.signal, layout: self.layout }
    }

    fn new(planned: &PlannedOutput, choice: Choice, target: Target, monitor: Monitor) -> Self {
        let Choice { mode, signal, layout } = choice;
        let mut planned = planned.clone();
        if planned.mirror.is_none() {
            (planned.logical.width, planned.logical.height) =
                logical_size(&mode, planned.scale, planned.transform);
        }
        let (warnings, modes) = (planned.warnings.clone(), wanted(&planned).0.to_vec());
        Self { planned, target, mode, signal, layout, warnings, modes, monitor }
    }
}

/// The pixels of a virtual output, at most: each of its buffers takes four bytes for one.
const MAX_VIRTUAL_PIXELS: u32 = 8192 * 8192;

impl Resolution {
    /// Adds virtual outputs, which accept every mode of at most [`MAX_VIRTUAL_PIXELS`].
    pub fn add_virtual(&mut self, planned: &[&PlannedOutput]) {
        let fits = |mode: &Mode| u32::from(mode.width) * u32::from(mode.height) <= MAX_VIRTUAL_PIXELS;
        for planned in planned {
            let (modes, signal) = wanted(planned);
            let Some(first) = modes.first() else { continue };
            let refusal = || format!("mode {first} has more than {MAX_VIRTUAL_PIXELS} pixels");
            let Some(mode) = modes.iter().find(|mode| fits(mode)) else {
                self.refuse(&planned.name, refusal());
                continue;
            };
            let monitor = Monitor::default();
            let choice = Choice { mode: *mode, signal, layout: BufferLayout::Best };
            let mut resolved = ResolvedOutput::new(planned, choice, Target::Memory, monitor);
            if mode != first {
                self.warn(&mut resolved, format!("{}; using {mode}", refusal()));
            }
            self.enabled.push(resolved);
        }
    }

    /// Adds the outputs of a GPU that was closed after it was probed: their monitors are gone with
    /// it.
    pub fn add_gone(&mut self, planned: &[&PlannedOutput]) {
        let gone = planned.iter().map(|planned| (planned.name.clone(), LifecycleEvent::Disconnected));
        self.disabled.extend(gone);
    }

    /// Adds what the search of a GPU found for `planned`, with the differences to what is wanted as
    /// warnings. `monitor_at` returns the monitor at a connector.
    pub fn add_search(
        &mut self,
        gpu: u64,
        planned: &[&PlannedOutput],
        result: SearchResult,
        monitor_at: impl Fn(&str) -> Monitor,
    ) {
        for assignment in result.assignments {
            let Some(planned) = planned.get(assignment.request) else { continue };
            let (modes, signal) = wanted(planned);
            let target = Target::Crtc { gpu, index: assignment.crtc };
            let monitor = monitor_at(&planned.name);
            let mut resolved = ResolvedOutput::new(planned, assignment.choice(), target, monitor);
            let mode = modes.first().filter(|first| **first != assignment.mode);
            let mode =
                mode.map(|first| format!("the kernel refuses mode {first}; using {}", assignment.mode));
            let signal = signal.differences(&assignment.signal);
            let signal = signal.map(|difference| format!("the kernel refuses {difference}"));
            for text in mode.into_iter().chain(signal) {
                self.warn(&mut resolved, text);
            }
            self.enabled.push(resolved);
        }
        for (request, failure) in result.failed {
            let Some(planned) = planned.get(request) else { continue };
            self.refuse(&planned.name, failure.to_string());
        }
    }

    /// Adds a warning of an output that is enabled in spite of it.
    fn warn(&mut self, resolved: &mut ResolvedOutput, text: String) {
        self.notices.push(format!("{}: {text}", resolved.planned.name));
        resolved.warnings.push(text);
    }

    /// Adds an output that cannot be enabled.
    fn refuse(&mut self, name: &str, reason: String) {
        self.notices.push(format!("{name} stays disabled: {reason}"));
        self.disabled.push((name.to_owned(), LifecycleEvent::Refused(reason)));
    }
}

#[cfg(test)]
mod tests {
    use geom_color::adjustments::AdjustmentConfig;
    use geom_display::fallback::{CrtcAssignment, Failure};
    use geom_display::output_config::Transform;
    use geom_display::plan::LogicalRect;

    use super::*;

    fn planned(name: &str, mirror: Option<&str>) -> PlannedOutput {
        let modes = vec![Mode::new(1920, 1080, 60_000), Mode::new(800, 600, 60_000)];
        PlannedOutput {
            gpu: 1,
            name: name.into(),
            target: PlanTarget::Enabled { modes, signal: SignalFormat::default() },
            logical: LogicalRect { x: 0, y: 0, width: 1920, height: 1080 },
            scale: 1.0,
            transform: Transform::Normal,
            mirror: mirror.map(str::to_owned),
            icc: None,
            adjustments: AdjustmentConfig::default(),
            fullscreen_vrr: None,
            warnings: vec!["planned".into()],
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_a_warning_and_a_notice() {
        let all = [planned("A", None), planned("B", None)];
        let planned: Vec<&PlannedOutput> = all.iter().collect();
        let assignment = CrtcAssignment {
            request: 0,
            crtc: 2,
            mode: Mode::new(800, 600, 60_000),
            signal: SignalFormat::default(),
            layout: BufferLayout::Best,
        };
        let result = SearchResult {
            assignments: vec![assignment],
            failed: vec![(1, Failure::NoCrtc)],
            ..SearchResult::default()
        };
        let mut resolution = Resolution::default();
        resolution.add_search(1, &planned, result, |_| Monitor::default());
        let [resolved] = resolution.enabled.as_slice() else { panic!("one output") };
        assert_eq!(resolved.target, Target::Crtc { gpu: 1, index: 2 });
        // Its size in the layout is that of the mode it got.
        assert_eq!((resolved.planned.logical.width, resolved.planned.logical.height), (800, 600));
        assert_eq!(resolved.warnings.len(), 2, "{:?}", resolved.warnings);
        assert_eq!(resolved.modes.len(), 2);
        let disabled = LifecycleEvent::Refused(Failure::NoCrtc.to_string());
        assert_eq!(resolution.disabled, [("B".to_owned(), disabled)]);
        assert_eq!(resolution.notices.len(), 2, "{:?}", resolution.notices);
    }

    #[test]
    fn virtual_outputs_get_their_first_mode_and_mirrors_no_place() {
        let mut mirror = planned("B", Some("A"));
        (mirror.logical.width, mirror.logical.height) = (0, 0);
        let mut resolution = Resolution::default();
        resolution.add_virtual(&[&planned("A", None), &mirror]);
        let sizes: Vec<_> = resolution
            .enabled
            .iter()
            .map(|resolved| (resolved.mode.width, resolved.planned.logical.width))
            .collect();
        assert_eq!(sizes, [(1920, 1920), (1920, 0)]);
    }

    #[test]
    fn virtual_modes_have_a_maximum() {
        let with = |modes: &[(u16, u16)]| {
            let modes = modes.iter().map(|(width, height)| Mode::new(*width, *height, 60_000)).collect();
            PlannedOutput {
                target: PlanTarget::Enabled { modes, signal: SignalFormat::default() },
                ..planned("A", None)
            }
        };
        let mut resolution = Resolution::default();
        resolution.add_virtual(&[&with(&[(65_535, 65_535), (800, 600)]), &with(&[(65_535, 65_535)])]);
        let enabled = &resolution.enabled[..];
        assert!(matches!(enabled, [one] if one.mode.width == 800 && one.warnings.len() == 2));
        let disabled = &resolution.disabled[..];
        assert!(matches!(disabled, [(_, LifecycleEvent::Refused(_))]), "{disabled:?}");
        assert_eq!(resolution.notices.len(), 2);
    }
}
