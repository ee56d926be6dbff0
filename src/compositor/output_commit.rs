//! Commits a resolution and publishes it: stage, commit, then inform clients.
//!
//! Staging changes only our own state, which the first frame is rendered with. If the kernel
//! refuses the commit, the staged state is rolled back, and no client was informed of it.

use std::sync::Arc;

use geom_display::lifecycle::{Event as LifecycleEvent, Lifecycle};
use geom_display::mode::Mode;
use geom_display::plan;
use geom_display::signal_format::SignalFormat;
use geom_ipc::Event as IpcEvent;
use geom_kms::{CrtcState, Framebuffer};
use smithay::desktop::layer_map_for_output;
use smithay::output::Output as WlOutput;
use tracing::{info, warn};

use super::deadline::Deadline;
use super::output_config::monitor_at;
use super::{notify_user, State};
use crate::event_loop::timers::Timers;
use crate::output::redraw::Event;
use crate::output::resolution::{Resolution, ResolvedOutput};
use crate::output::scanout::{Scanout, Target};
use crate::output::{OutputId, OutputState};

/// One staged output: what to roll back to.
struct Staged {
    id: OutputId,
    target: Option<Target>,
    event: LifecycleEvent,
    before: OutputState,
    /// The scanout that was replaced. It lives until the commit, as the kernel may still scan out
    /// its buffers.
    replaced: Option<Option<Scanout>>,
}

/// The result of a commit on one GPU.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Committed {
    Accepted,
    /// The next search leaves a mode out.
    Retry,
    /// The state cannot be applied, and trying again would not help.
    Refused,
}

/// Stops a scanout; its buffers must live until the commit that no longer shows them.
pub fn defer_drop(timers: &mut Timers<Deadline>, scanout: Option<Scanout>, deferred: &mut Vec<Scanout>) {
    let Some(mut scanout) = scanout else { return };
    if let Some(timer) = scanout.take_timer() {
        timers.cancel(timer);
    }
    deferred.push(scanout);
}

impl State {
    /// Stages a resolution, commits it on each GPU, and publishes what the kernel accepted. Returns
    /// false if another search may find something better.
    pub fn commit_resolution(&mut self, resolution: Resolution) -> bool {
        let mut deferred = Vec::new();
        for (name, _) in
            resolution.disabled.iter().filter(|(_, event)| *event != LifecycleEvent::Disconnected)
        {
            self.ensure_listed(name);
        }
        for resolved in &resolution.enabled {
            self.replace_monitor(resolved, &mut deferred);
        }
        let disabled: Vec<Staged> =
            resolution.disabled.iter().filter_map(|(name, event)| self.stage_disabled(name, event)).collect();
        let enabled: Vec<Staged> =
            resolution.enabled.iter().map(|resolved| self.stage_enabled(resolved)).collect();
        let gpus: Vec<u64> = self.backend.gpus().map(|gpu| gpu.device.id()).collect();
        // Each GPU gets its commit, whatever became of the one before.
        let results: Vec<(u64, Committed)> =
            gpus.into_iter().map(|gpu| (gpu, self.commit_gpu(gpu, &resolution))).collect();
        let accepted = |target: Option<Target>| match target {
            Some(Target::Crtc { gpu, .. }) => {
                results.iter().any(|(id, result)| *id == gpu && *result == Committed::Accepted)
            }
            // Virtual outputs, and outputs without a scanout, need no commit.
            Some(Target::Memory) | None => true,
        };
        let (mut published, mut refused) = (Vec::new(), Vec::new());
        for staged in disabled.into_iter().chain(enabled) {
            // A monitor that is gone is gone, whatever the kernel says about the others.
            let is_fact = staged.event == LifecycleEvent::Disconnected;
            match is_fact || accepted(staged.target) {
                true => published.push(staged),
                false => refused.push(staged),
            }
        }
        for staged in refused.into_iter().rev() {
            self.roll_back_staged(staged, &mut deferred);
        }
        for staged in published {
            self.publish_output(staged, &mut deferred);
        }
        self.place_windows();
        results.iter().all(|(_, result)| *result != Committed::Retry)
    }

    /// A disabled or refused monitor is listed as an output too: it can be named and enabled.
    fn ensure_listed(&mut self, name: &str) {
        let connector = self.backend.gpus().find_map(|gpu| gpu.device.connector(name));
        let Some(connector) = connector.filter(|connector| !connector.state.non_desktop) else { return };
        let (monitor, modes) = (monitor_at(connector), plan::mode_candidates(&connector.state.modes, None));
        self.outputs.entry(name).list(monitor, modes);
    }

    /// Another monitor is plugged into the connector of an enabled output, and we saw no moment
    /// without one: the old monitor is disconnected first.
    fn replace_monitor(&mut self, resolved: &ResolvedOutput, deferred: &mut Vec<Scanout>) {
        let name = &resolved.planned.name;
        let Some(output) = self.outputs.named_mut(name) else { return };
        if !output.is_enabled() || output.state().monitor == resolved.monitor {
            return;
        }
        let id = output.id;
        defer_drop(&mut self.timers, output.scanout.take(), deferred);
        self.apply_lifecycle(id, LifecycleEvent::Disconnected);
        self.place_windows();
    }

    fn stage_disabled(&mut self, name: &str, event: &LifecycleEvent) -> Option<Staged> {
        let output = self.outputs.named_mut(name)?;
        let (id, before) = (output.id, output.state().clone());
        let target = output.scanout.as_ref().map(|scanout| scanout.target());
        let replaced = Some(output.scanout.take());
        Some(Staged { id, target, event: event.clone(), before, replaced })
    }

    fn stage_enabled(&mut self, resolved: &ResolvedOutput) -> Staged {
        let name = &resolved.planned.name;
        // Names are for configurations: frames find the source by its id.
        let mirror = resolved.planned.mirror.as_deref().map(|source| self.outputs.entry(source).id);
        let output = self.outputs.entry(name);
        let (id, before) = (output.id, output.state().clone());
        output.stage(resolved, mirror);
        let geometry = output.frame_geometry();
        let fits = output.scanout.as_ref().zip(geometry).is_some_and(|(scanout, geometry)| {
            scanout.target() == resolved.target
                && scanout.size() == geometry.pixels()
                && scanout.layout() == resolved.layout
        });
        let replaced = geometry.filter(|_| !fits).map(|geometry| {
            let scanout = Scanout::new(resolved.target, geometry, resolved.mode.refresh, resolved.layout);
            output.scanout.replace(scanout)
        });
        if !output.is_enabled() {
            self.keep_blanked(name, resolved.monitor.identity.as_ref());
        }
        if self.outputs.get(id).is_some_and(|output| output.state().blanked) {
            self.redraw_event(id, Event::Paused);
        }
        self.update_color_conversion(id);
        let target = Some(resolved.target);
        Staged { id, target, event: LifecycleEvent::Enabled, before, replaced }
    }

    fn roll_back_staged(&mut self, staged: Staged, deferred: &mut Vec<Scanout>) {
        let Some(output) = self.outputs.get_mut(staged.id) else { return };
        output.restore(staged.before);
        output.scanout.iter_mut().for_each(Scanout::modeset_refused);
        if let Some(replaced) = staged.replaced {
            let refused = std::mem::replace(&mut output.scanout, replaced);
            // A frame of the refused state may be partly rendered.
            output.scanout.iter_mut().for_each(Scanout::forget);
            defer_drop(&mut self.timers, refused, deferred);
        }
        self.update_color_conversion(staged.id);
    }

    /// The kernel accepted an output's state: informs clients.
    fn publish_output(&mut self, staged: Staged, deferred: &mut Vec<Scanout>) {
        if let Some(replaced) = staged.replaced {
            defer_drop(&mut self.timers, replaced, deferred);
        }
        let Some(output) = self.outputs.get_mut(staged.id) else { return };
        if staged.event == LifecycleEvent::Enabled {
            output.publish();
            let (mode, lowest) = (output.state().mode, output.state().lowest_refresh());
            if let Some((scanout, mode)) = output.scanout.as_mut().zip(mode) {
                scanout.set_refresh(mode.refresh, lowest);
            }
            layer_map_for_output(output.wl_output()).arrange();
        }
        let is_changed = *output.state() != staged.before;
        let is_reported = self.apply_lifecycle(staged.id, staged.event);
        self.update_global(staged.id);
        if is_changed && !is_reported {
            self.publish_display(staged.id);
        }
    }

    fn publish_display(&mut self, id: OutputId) {
        if let Some(display) = self.outputs.get(id).map(|output| self.ipc_display(output)) {
            self.publish_event(&IpcEvent::Display { display });
        }
    }

    /// Passes an event to an output's lifecycle, and informs clients. Returns whether a `display`
    /// event was published.
    pub fn apply_lifecycle(&mut self, id: OutputId, event: LifecycleEvent) -> bool {
        let effects = self.outputs.on_lifecycle(id, event, self.power.is_idle_blanked());
        let Some(output) = self.outputs.get(id) else { return false };
        let name = output.name.clone();
        let is_settled = match output.lifecycle() {
            Lifecycle::Enabled => !output.state().blanked,
            Lifecycle::Failed(_) => false,
            Lifecycle::Absent | Lifecycle::Disabled | Lifecycle::Disconnected => true,
        };
        if is_settled {
            self.forget_refused_unblank(&name);
        }
        let Some(output) = self.outputs.get(id) else { return false };
        if effects.unblanked {
            self.backend.gpus_mut().for_each(|gpu| gpu.device.set_pending_active(&output.name, true));
        }
        if effects.disconnected {
            info!(
                display = output.name,
                disconnects = output.counts().disconnects,
                "monitor disconnected; its windows are kept"
            );
        }
        if let Some(global) = effects.removed_global {
            self.disable_global(global);
        }
        if effects.changed {
            self.publish_display(id);
        }
        effects.changed
    }

    /// Enabled outputs of the layout have a `wl_output` global; mirrors have none.
    fn update_global(&mut self, id: OutputId) {
        let Some(output) = self.outputs.get_mut(id) else { return };
        let create = |wl_output: &WlOutput| wl_output.create_global::<Self>(&self.display_handle);
        if let Some(global) = output.update_global(create) {
            self.disable_global(global);
        }
    }

    /// Commits the state of all outputs of a GPU, with the first frame of each output that needs a
    /// modeset.
    fn commit_gpu(&mut self, gpu: u64, resolution: &Resolution) -> Committed {
        let mut states: Vec<CrtcState> = Vec::new();
        let mut modesets: Vec<(String, Mode, SignalFormat)> = Vec::new();
        for resolved in &resolution.enabled {
            let Some(index) = resolved.target.crtc_on(gpu) else { continue };
            if let Some(state) = self.unchanged_crtc(gpu, index, resolved) {
                states.push(state);
                continue;
            }
            let (name, mode, signal) = (resolved.planned.name.clone(), resolved.mode, resolved.signal);
            self.inherit_frame(gpu, index, &name, &mode);
            let framebuffer = self.first_frame(gpu, &name);
            modesets.push((name.clone(), mode, signal));
            let Some(gpu) = self.backend.gpu_mut(gpu) else { return Committed::Refused };
            match framebuffer {
                Ok(framebuffer) => {
                    states.extend(gpu.device.crtc_state(&name, index, &resolved.choice(), framebuffer));
                }
                Err(error) => {
                    warn!(display = name, %error, "cannot render the first frame; trying another mode");
                    gpu.device.note_refused_mode(&name, mode, signal);
                    return Committed::Retry;
                }
            }
        }
        let crtcs: Vec<usize> = states.iter().map(|state| state.setup.crtc).collect();
        let Some(committing) = self.backend.gpu_mut(gpu) else { return Committed::Refused };
        let device = &mut committing.device;
        let never_committed = device.never_committed();
        if let Err(error) = device.commit(states) {
            if device.is_not_master() {
                // Committed again once we are, by `retry_without_master`.
                return Committed::Refused;
            }
            // Leave out one modeset at a time, the last first, so that the others keep their state.
            let Some((name, mode, signal)) = modesets.pop() else {
                // The kernel refuses even to disable outputs: nothing less can be asked for.
                notify_user!(self, "{} refuses to change its displays: {error}", device.path().display());
                return Committed::Refused;
            };
            warn!(gpu = %device.path().display(), display = name, %error, "modeset failed after its test commit passed; trying another mode");
            device.note_refused_mode(&name, mode, signal);
            return Committed::Retry;
        }
        let requests = resolution.requests.get(&gpu).map_or(&[][..], Vec::as_slice);
        device.note_committed_requests(requests);
        committing.drop_unused(&crtcs);
        if never_committed {
            self.hold_gpu(gpu);
        }
        for (name, mode, signal) in modesets {
            let color_space = signal.color_space.name();
            info!(display = name, %mode, color_space, bit_depth = signal.bit_depth, "modeset done");
            // Its first frame came with the modeset, without a page flip event.
            self.frames += 1;
            let Some(output) = self.outputs.named_mut(&name) else { continue };
            let id = output.id;
            output.modeset_done();
            self.power_set_by_modeset(id);
            if self.outputs.get(id).is_some_and(|output| !output.state().blanked) {
                self.redraw_event(id, Event::Resumed);
            }
        }
        if self.frames > 0 {
            self.answer_frame();
        }
        Committed::Accepted
    }

    /// Renders the frame that a modeset shows.
    fn first_frame(&mut self, gpu: u64, name: &str) -> std::io::Result<Arc<Framebuffer>> {
        let missing = || std::io::Error::other("the output has no scanout");
        let id = self.outputs.id(name).ok_or_else(missing)?;
        let visible =
            self.outputs.content_of(id).map(|content| self.visible_surfaces(content)).unwrap_or_default();
        let frame = self.with_scene(id, visible, |state, scene| {
            let State { outputs, backend, .. } = state;
            let scanout = outputs.scanout_mut(id)?;
            scanout.begin_modeset();
            Some(scanout.first_frame(backend.gpu_mut(gpu)?, scene))
        });
        frame.flatten().ok_or_else(missing)?
    }

    /// Returns the state of a CRTC that already shows an output with its mode and signal.
    fn unchanged_crtc(&self, gpu: u64, crtc: usize, resolved: &ResolvedOutput) -> Option<CrtcState> {
        let device = &self.backend.gpu(gpu)?.device;
        device.unchanged_state(&resolved.planned.name, crtc, &resolved.choice())
    }
}
