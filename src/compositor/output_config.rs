//! Output configuration, the one path of every change: probe, plan, test commit, commit, publish.
//!
//! Hotplug, configuration files, control requests, resume and new GPUs all end in
//! [`State::reconfigure`]. Running it twice changes nothing. Clients are informed only after the
//! kernel has accepted the commit (`output_commit.rs`).

use std::collections::BTreeMap;

use geom_display::identity::Monitor;
use geom_display::lifecycle::Event as LifecycleEvent;
use geom_display::output_config::keep_one_enabled;
use geom_display::plan::{self, Plan, PlanTarget, PlannedOutput, ProbedGpu};
use geom_ipc::Event as IpcEvent;
use geom_kms::objects::Connector;
use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::output_commit::defer_drop;
use super::{notify_user, State};
use crate::backend::kms::GPU_RETRY;
use crate::backend::Backend;
use crate::config::Config;
use crate::output::outputs::Outputs;
use crate::output::resolution::{search_requests, Resolution};
use crate::output::{Output, OutputId};
use crate::session::sd_notify;

/// What a reconfiguration changed, for its listeners.
pub struct OutputsChanged {
    /// The cause, for the log.
    pub cause: &'static str,
    /// Outputs were enabled, disabled or reordered.
    pub layout: bool,
}

/// Everything that follows a reconfiguration, in this order. Each listener compares for itself what
/// concerns it, so that running all of them after a reconfiguration without changes does nothing.
const LISTENERS: [fn(&mut State, &OutputsChanged); 14] = [
    State::publish_layout,
    |state, _| state.keep_pointer_on_outputs(),
    |state, _| state.refresh_focus(),
    |state, _| state.announce_dmabuf(),
    |state, _| state.update_surface_feedback(),
    |state, _| state.check_named_displays(),
    |state, _| state.send_heads(),
    |state, _| state.check_gamma(),
    |state, _| state.check_power(),
    |state, _| state.check_leases(),
    |state, _| state.check_lid(),
    |state, _| state.update_all_gamma(),
    |state, _| state.send_image_descriptions(),
    |state, _| state.redraw_all(),
];

/// Those of [`LISTENERS`] that ask nothing of GPUs. That a disconnect is final is decided when the
/// pause ends: a GPU that the seat took is there again then.
const WHILE_PAUSED: [fn(&mut State, &OutputsChanged); 5] = [
    State::publish_layout,
    |state, _| state.keep_pointer_on_outputs(),
    |state, _| state.refresh_focus(),
    |state, _| state.send_heads(),
    |state, _| state.check_power(),
];

/// How often a commit may fail after its test passed. The next search leaves out one mode of one
/// output for each failure.
const MAX_COMMIT_ATTEMPTS: usize = 8;

pub fn monitor_at(connector: &Connector) -> Monitor {
    Monitor {
        identity: connector.state.monitor.clone(),
        edid: connector.state.edid.clone(),
        size: connector.physical_size,
        primaries: connector.state.capabilities.monitor.points(),
        max_luminance: connector.state.capabilities.monitor.max_luminance,
        min_refresh: connector.min_refresh,
    }
}

impl State {
    /// Brings all outputs to what is present and configured. `cause` is for the log.
    pub fn reconfigure(&mut self, cause: &'static str) {
        if self.backend.is_paused() {
            return;
        }
        let enabled_before = self.outputs.enabled_names();
        // Scanouts of monitors that moved to another connector; their buffers may be on the screen
        // until the commit.
        let mut moved = Vec::new();
        let present = self.backend.probed();
        self.relocate_monitors(&present, &mut moved);
        for attempt in 1..=MAX_COMMIT_ATTEMPTS {
            let resolution = self.resolve(&present);
            for notice in &resolution.notices {
                notify_user!(self, "{notice}");
            }
            if self.commit_resolution(resolution) {
                break;
            }
            if attempt == MAX_COMMIT_ATTEMPTS {
                notify_user!(
                    self,
                    "the kernel refuses commits that it accepted in tests; displays keep their last state. See the kernel's log"
                );
            }
        }
        self.backend.release_spare_buffers();
        drop(moved);
        self.visibility_changed = true;
        let changed = OutputsChanged { cause, layout: self.outputs.enabled_names() != enabled_before };
        for listener in LISTENERS {
            listener(self, &changed);
        }
        self.retry_without_master();
        self.await_modes(&present);
    }

    /// A GPU is closed while outputs may not be changed, so that `reconfigure` did nothing: its
    /// outputs are disconnected. What follows for others is configured when the pause ends.
    pub fn drop_outputs_of(&mut self, gpu: u64) {
        let is_own = |output: &&Output| {
            let target = output.scanout.as_ref().map(|scanout| scanout.target());
            target.is_some_and(|target| target.crtc_on(gpu).is_some())
        };
        let own: Vec<OutputId> = self.outputs.iter().filter(is_own).map(|output| output.id).collect();
        if own.is_empty() {
            return;
        }
        let mut deferred = Vec::new();
        for id in own {
            let Some(output) = self.outputs.get_mut(id) else { continue };
            output.own_content.drop_inherited_frame();
            defer_drop(&mut self.timers, output.scanout.take(), &mut deferred);
            self.apply_lifecycle(id, LifecycleEvent::Disconnected);
        }
        self.place_windows();
        let changed = OutputsChanged { cause: "GPU gone", layout: true };
        for listener in WHILE_PAUSED {
            listener(self, &changed);
        }
    }

    fn publish_layout(&mut self, changed: &OutputsChanged) {
        let cause = changed.cause;
        if !changed.layout {
            debug!(cause, "enabled displays unchanged");
            return;
        }
        let enabled = self.outputs.enabled_names();
        info!(cause, displays = enabled.join(" "), "enabled displays changed");
        self.publish_event(&IpcEvent::Layout { cause: cause.to_owned(), enabled });
        sd_notify::status(&self.status());
        self.note_state();
    }

    fn keep_pointer_on_outputs(&mut self) {
        self.input.pointer_mut().keep_on_outputs(&self.outputs);
    }

    /// Plans and tests without applying anything.
    pub fn test_resolution(&mut self) -> Resolution {
        let resolution = self.resolve(&self.backend.probed());
        self.backend.release_spare_buffers();
        // Nothing was to be committed, so there is nothing to try again when we are DRM master.
        for gpu in self.backend.gpus_mut() {
            gpu.device.take_not_master();
        }
        resolution
    }

    /// After a VT switch, or while another display server ends, the kernel may refuse commits for a
    /// moment: we are not DRM master.
    fn retry_without_master(&mut self) {
        let mut not_master = false;
        let mut never_ours = Vec::new();
        for gpu in self.backend.gpus_mut() {
            if gpu.device.take_not_master() {
                not_master = true;
                never_ours.extend(gpu.device.crtc_states().next().is_none().then(|| gpu.device.id()));
            }
        }
        self.master_retries = if not_master { self.master_retries + 1 } else { 0 };
        let delay = GPU_RETRY.delay_after(self.master_retries).filter(|_| not_master);
        let Some(delay) = delay else { return };
        warn!(?delay, "not DRM master of a GPU; trying again");
        let at = self.now() + delay;
        self.timers.at(at, Deadline::RetryMaster { never_ours });
    }

    /// Plans and searches what the kernel accepts.
    pub(crate) fn resolve(&mut self, present: &[ProbedGpu]) -> Resolution {
        let mut resolution = Resolution::default();
        let plan = self.plan(present, &mut resolution.notices);
        let mut by_gpu: BTreeMap<u64, Vec<&PlannedOutput>> = BTreeMap::new();
        for planned in &plan.outputs {
            match &planned.target {
                PlanTarget::Enabled { .. } => by_gpu.entry(planned.gpu).or_default().push(planned),
                PlanTarget::Disabled(reason) => {
                    debug!(display = planned.name, %reason, "display stays disabled");
                    resolution.disabled.push((planned.name.clone(), LifecycleEvent::Disabled));
                }
            }
        }
        for (id, planned) in by_gpu {
            self.resolve_gpu(id, &planned, &mut resolution);
        }
        for output in self.outputs.iter().filter(|output| plan.output(&output.name).is_none()) {
            resolution.disabled.push((output.name.clone(), LifecycleEvent::Disconnected));
        }
        resolution
    }

    fn plan(&mut self, present: &[ProbedGpu], notices: &mut Vec<String>) -> Plan {
        self.outputs.note_ports(present);
        let mut system = self.config.outputs.clone();
        system.only.clone_from(&self.options.display);
        let known = self.outputs.known(present, &self.config.aliases);
        let (connected, usable) = plan::desktop_connectors(present);
        let mut configs = self.profile.settings.over(system, &known, &connected);
        configs.fullscreen = self.fullscreen_displays();
        for name in self.power.disabled_by_lid(&self.config.power, present) {
            configs.outputs.entry(name).or_default().enabled = Some(false);
        }
        if !self.options.headless_ok {
            if let Some(kept) = keep_one_enabled(&mut configs, &usable) {
                notices.push(format!(
                    "{kept} stays enabled although the configuration disables all displays; --headless-ok allows that"
                ));
            }
        }
        // Requests override the configuration, whichever name it uses for the display.
        for (name, requested) in self.requests.iter() {
            let config = configs.outputs.entry(name.clone()).or_default();
            *config = config.overridden_by(requested);
        }
        let icc_warnings = self.color.look_up_icc(&mut configs, &self.outputs);
        self.read_icc_files();
        let mut plan = plan::plan(present, &configs, &self.outputs.layout());
        for planned in &mut plan.outputs {
            planned.warnings.extend(icc_warnings.get(&planned.name).cloned());
            let name = &planned.name;
            notices.extend(planned.warnings.iter().map(|warning| format!("{name}: {warning}")));
        }
        plan
    }

    /// Returns the outputs that a name stands for: a connector, a monitor (`make model serial`), or
    /// a pattern of either.
    pub fn displays_named(&self, name: &str) -> Vec<String> {
        connectors_named(&self.outputs, &self.backend, &self.config, name)
    }

    fn resolve_gpu(&mut self, id: u64, planned: &[&PlannedOutput], resolution: &mut Resolution) {
        if matches!(self.backend, Backend::Headless(_)) {
            resolution.add_virtual(planned);
            return;
        }
        let Self { backend, clock, .. } = self;
        let Some(gpu) = backend.gpu_mut(id) else {
            resolution.add_gone(planned);
            return;
        };
        let requests = search_requests(planned);
        let result = gpu.search(&requests, &|| clock.now().into());
        debug!(gpu = %gpu.device.path().display(), tests = result.tests, enabled = result.assignments.len(), "search finished");
        let monitor = |name: &str| gpu.device.connector(name).map(monitor_at).unwrap_or_default();
        resolution.add_search(id, planned, result, monitor);
        resolution.requests.insert(id, requests);
    }
}

/// See [`State::displays_named`]. For callers that borrow other parts of the state.
pub fn connectors_named(outputs: &Outputs, backend: &Backend, config: &Config, name: &str) -> Vec<String> {
    // The usual case, without asking the GPUs.
    if outputs.named(name).is_some() {
        return vec![name.to_owned()];
    }
    outputs.known(&backend.probed(), &config.aliases).connectors_of(name)
}
