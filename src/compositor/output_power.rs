//! Blanking of outputs (DPMS): a blanked output keeps its mode, its place in the layout, its
//! `wl_output` and its windows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use geom_ipc::Event as IpcEvent;
use geom_kms::commit::is_busy;
use geom_kms::Probe;
use tracing::{debug, info, warn};

use super::deadline::Deadline;
use super::State;
use crate::output::pacing::MODESET_RETRY_AFTER;
use crate::output::power_change::{PowerChange, PowerRequest};
use crate::output::redraw::Event;
use crate::output::scanout::{Scanout, Target};
use crate::output::OutputId;

/// When a change that the kernel was busy for is tried again, unless a page flip comes before.
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// After this time, the event loop waits for the kernel: a page flip is lost, for which the kernel
/// itself waits 10 s (drm_atomic_helper.c).
const BUSY_TIMEOUT: Duration = MODESET_RETRY_AFTER;

/// The same if all page flips that are pending are recent: those of other displays, one of which is
/// always pending. The wait takes a frame at most, and then as long as the change takes.
const BUSY_LIMIT: Duration = Duration::from_millis(100);

impl State {
    /// Blanks or unblanks enabled outputs on request. A request to unblank counts as user activity,
    /// which ends idle blanking.
    ///
    /// # Errors
    /// If an output is not enabled, or the kernel refuses. All or none are blanked; those that the
    /// kernel refuses to unblank are tried again.
    pub fn blank(&mut self, names: &[String], blank: bool) -> Result<(), String> {
        if blank {
            self.set_blanked(names, true)?;
            names.iter().for_each(|name| self.forget_refused_unblank(name));
            return Ok(());
        }
        let enabled = |name: &&String| self.outputs.named(name).is_some_and(|output| output.is_enabled());
        if let Some(name) = names.iter().find(|name| !enabled(name)) {
            return Err(format!("display {name} is not enabled"));
        }
        self.activity();
        let refused = self.set_blanked_each(names, false);
        if refused.is_empty() {
            return Ok(());
        }
        let mut texts: Vec<String> = refused.iter().map(|(_, error)| error.clone()).collect();
        texts.dedup();
        self.unblank_refused(refused);
        Err(format!("{}; it is unblanked as soon as that is possible", texts.join("; ")))
    }

    /// Blanks or unblanks enabled outputs by one commit for each GPU; if the kernel refuses that,
    /// each by itself. Returns those that stay as they were, and why.
    pub fn set_blanked_each(&mut self, names: &[String], blank: bool) -> Vec<(String, String)> {
        match self.set_blanked(names, blank) {
            Ok(()) => Vec::new(),
            Err(error) => match names {
                [name] => vec![(name.clone(), error)],
                _ => names
                    .iter()
                    .filter_map(|name| {
                        Some((name.clone(), self.set_blanked(std::slice::from_ref(name), blank).err()?))
                    })
                    .collect(),
            },
        }
    }

    /// Unblanks outputs by a full output configuration, with the search over signals and modes.
    /// Returns those that stay blanked, and why.
    pub fn unblank_by_modeset(&mut self, names: &[String]) -> Vec<(String, String)> {
        for gpu in self.backend.gpus_mut() {
            let device = &mut gpu.device;
            let own = |name: &&String| device.connector(name).is_some();
            let own: Vec<&String> = names.iter().filter(own).collect();
            if own.is_empty() {
                continue;
            }
            for name in own {
                device.set_pending_active(name, true);
                if let Some(crtc) = device.crtc_of(name) {
                    device.force_modeset(crtc);
                }
            }
            // Modes that were refused are tried again, and the monitor may be another one.
            if let Err(error) = device.probe(&Probe::All) {
                warn!(gpu = %device.path().display(), %error, "cannot probe connectors; using the last state");
            }
        }
        // A display that cannot be powered up stays enabled and blanked, with its windows. No other
        // one is given up for it.
        let found = self.test_resolution();
        let is_found = |name: &str| found.enabled.iter().any(|resolved| resolved.planned.name == name);
        let keeps_others =
            self.outputs.enabled_names().iter().all(|name| names.contains(name) || is_found(name));
        for name in names.iter().filter(|name| !keeps_others || !is_found(name)) {
            self.backend.gpus_mut().for_each(|gpu| gpu.device.set_pending_active(name, false));
        }
        self.reconfigure("unblank");
        let mut refused = Vec::new();
        for name in names {
            let Some(output) = self.outputs.named(name) else { continue };
            let (id, is_enabled, is_blanked) = (output.id, output.is_enabled(), output.state().blanked);
            let is_active = self
                .backend
                .gpus()
                .flat_map(|gpu| gpu.device.crtc_states())
                .any(|state| state.output == *name && state.setup.active);
            match (is_enabled && is_active, is_blanked) {
                (true, true) => self.note_blanked(id, false),
                (true, false) => self.forget_refused_unblank(name),
                (false, _) => {
                    // What other commits set meanwhile.
                    self.backend.gpus_mut().for_each(|gpu| gpu.device.set_pending_active(name, !is_enabled));
                    refused.push((name.clone(), "a full modeset failed as well".to_owned()));
                }
            }
        }
        refused
    }

    /// Blanks or unblanks enabled outputs, all of them or none: by one commit for each GPU. If the
    /// kernel is busy with a frame, or with the last change, of an output, that is done later.
    ///
    /// # Errors
    /// If an output is not enabled, or the kernel refuses; all stay as they were.
    pub fn set_blanked(&mut self, names: &[String], blank: bool) -> Result<(), String> {
        let mut ids = Vec::new();
        for name in names {
            let output = self.outputs.named(name).filter(|output| output.is_enabled());
            ids.push(output.ok_or_else(|| format!("display {name} is not enabled"))?.id);
        }
        // Events that are read later would count as the end of this change.
        let gpus: BTreeSet<u64> = ids.iter().filter_map(|id| self.gpu_of(*id)).collect();
        gpus.iter().for_each(|gpu| self.read_page_flips(*gpu));
        let mut commits: BTreeMap<u64, Vec<OutputId>> = BTreeMap::new();
        let (mut queued, mut taken_back, mut without_gpu) = (Vec::new(), Vec::new(), Vec::new());
        for id in ids {
            let Some(output) = self.outputs.get(id) else { continue };
            match (output.power_request(blank), self.gpu_of(id)) {
                (PowerRequest::Nothing, _) => {}
                (_, None) => without_gpu.push(id),
                (PowerRequest::Commit, Some(gpu)) => commits.entry(gpu).or_default().push(id),
                (PowerRequest::Queue, Some(gpu)) => queued.push((gpu, id)),
                (PowerRequest::TakeBack, _) => taken_back.push(id),
            }
        }
        self.commit_all(&commits, &queued, blank).inspect_err(|error| {
            warn!(blank, error, "the kernel refuses to change ACTIVE");
        })?;
        queued.into_iter().for_each(|(_, id)| self.queue_power_change(id, blank));
        taken_back.into_iter().for_each(|id| self.take_power_change_back(id, blank));
        without_gpu.into_iter().for_each(|id| self.note_blanked(id, blank));
        Ok(())
    }

    fn gpu_of(&self, id: OutputId) -> Option<u64> {
        match self.outputs.scanout(id)?.target() {
            Target::Crtc { gpu, .. } => Some(gpu),
            Target::Memory => None,
        }
    }

    fn names(&self, ids: &[OutputId]) -> Vec<String> {
        ids.iter().filter_map(|id| self.outputs.name(*id)).map(str::to_owned).collect()
    }

    /// Sets ACTIVE of outputs by one commit for each GPU, after all GPUs have tested theirs, and
    /// the changes that are queued.
    fn commit_all(
        &mut self,
        commits: &BTreeMap<u64, Vec<OutputId>>,
        queued: &[(u64, OutputId)],
        blank: bool,
    ) -> Result<(), String> {
        let mut all = commits.clone();
        queued.iter().for_each(|(gpu, id)| all.entry(*gpu).or_default().push(*id));
        if !all.is_empty() && self.backend.is_paused() {
            return Err(self.backend.pause_reason().to_owned());
        }
        // The commit of a single GPU is its own test.
        if all.len() > 1 || !queued.is_empty() {
            for (gpu, ids) in &all {
                let names = self.names(ids);
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let gpu = self.backend.gpu(*gpu).ok_or_else(|| io::ErrorKind::NotFound.into());
                let tested = gpu.and_then(|gpu| gpu.device.test_active(&names, !blank));
                tested.map_err(|error| format!("{}: {error}", names.join(", ")))?;
            }
        }
        let mut committed: Vec<String> = Vec::new();
        for (gpu, ids) in commits {
            if let Err(error) = self.commit_active(*gpu, ids, !blank) {
                // What is pending is taken back at its end.
                if let Err(error) = self.set_blanked(&committed, !blank) {
                    warn!(displays = committed.join(" "), error, "cannot roll ACTIVE back");
                }
                return Err(format!("{}: {error}", self.names(ids).join(", ")));
            }
            committed.extend(self.names(ids));
        }
        Ok(())
    }

    /// Sets ACTIVE of outputs of a GPU, or queues that if the kernel is busy.
    fn commit_active(&mut self, gpu: u64, ids: &[OutputId], active: bool) -> io::Result<()> {
        let names = self.names(ids);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let device = self.backend.gpu_mut(gpu).ok_or_else(|| io::ErrorKind::NotFound.into());
        match device.and_then(|gpu| gpu.device.set_active(&names, active)) {
            Ok(is_pending) => {
                ids.iter().for_each(|id| self.active_set(*id, active, is_pending));
                Ok(())
            }
            Err(error) if is_busy(&error) => {
                debug!(displays = names.join(" "), active, "the kernel is busy; changing ACTIVE later");
                ids.iter().for_each(|id| self.queue_power_change(*id, !active));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The kernel accepted a change of ACTIVE. `is_pending` means that it goes on with it, and
    /// reports the end as a page flip.
    fn active_set(&mut self, id: OutputId, active: bool, is_pending: bool) {
        let since = self.iteration_start();
        let Some(output) = self.outputs.get_mut(id) else { return };
        let target = output.scanout.as_ref().map(Scanout::target);
        let is_noted = output.state().blanked != active;
        match target.filter(|_| is_pending) {
            Some(target) => {
                output.set_power_change(PowerChange::Unblanking { since, target, then_blank: false });
                let name = output.name.clone();
                debug!(display = name, "display is being powered up");
                self.forget_refused_unblank(&name);
                self.arm_pageflip_watchdog(since);
            }
            None => {
                output.set_power_change(PowerChange::Settled);
                if !is_noted {
                    self.note_blanked(id, !active);
                }
            }
        }
    }

    /// The kernel is busy: an output is blanked or unblanked later. One that is to be blanked shows
    /// no new frames from now on.
    fn queue_power_change(&mut self, id: OutputId, blank: bool) {
        let now = self.iteration_start();
        let Some(output) = self.outputs.get_mut(id) else { return };
        if !output.power_change().is_queued(blank) {
            output.set_power_change(match blank {
                true => PowerChange::BlankQueued { since: now },
                false => PowerChange::UnblankQueued { since: now },
            });
        }
        let (is_noted, waits) = (output.state().blanked, output.has_pending_flip());
        self.set_pending_active(id, !blank);
        if blank && !is_noted {
            self.note_blanked(id, true);
        }
        match waits {
            // If the page flip gets lost, the watchdog ends the wait.
            true => self.arm_pageflip_watchdog(now),
            false if !std::mem::replace(&mut self.power_retry_armed, true) => {
                self.timers.at(now + BUSY_RETRY, Deadline::ContinuePowerChanges);
            }
            false => {}
        }
    }

    /// Blanks or unblanks an output whose opposite change is not done yet.
    fn take_power_change_back(&mut self, id: OutputId, blank: bool) {
        let Some(output) = self.outputs.get_mut(id) else { return };
        match output.power_change() {
            PowerChange::Settled => return,
            PowerChange::Unblanking { since, target, .. } => {
                output.set_power_change(PowerChange::Unblanking { since, target, then_blank: blank });
            }
            PowerChange::BlankQueued { .. } => {
                output.set_power_change(PowerChange::Settled);
                self.note_blanked(id, false);
            }
            PowerChange::UnblankQueued { .. } => output.set_power_change(PowerChange::Settled),
        }
        self.set_pending_active(id, !blank);
    }

    fn set_pending_active(&mut self, id: OutputId, active: bool) {
        let Some(gpu) = self.gpu_of(id) else { return };
        if let Some((gpu, name)) = self.backend.gpu_mut(gpu).zip(self.outputs.name(id)) {
            gpu.device.set_pending_active(name, active);
        }
    }

    /// The kernel has powered a display up.
    pub fn powered_up(&mut self, id: OutputId) {
        let Some(output) = self.outputs.get_mut(id) else { return };
        let PowerChange::Unblanking { then_blank, .. } = output.power_change() else { return };
        output.set_power_change(PowerChange::Settled);
        match then_blank {
            // Committed by `continue_power_changes`.
            true => self.queue_power_change(id, true),
            false => self.note_blanked(id, false),
        }
    }

    /// A modeset has set ACTIVE of an output to what is wanted, and waited for what was pending.
    pub fn power_set_by_modeset(&mut self, id: OutputId) {
        let Some(output) = self.outputs.get_mut(id) else { return };
        let target = output.scanout.as_ref().map(Scanout::target);
        let is_blanked = match output.power_change() {
            PowerChange::Settled => return,
            // The event is still to be read.
            PowerChange::Unblanking { target: on, then_blank: false, .. } if target == Some(on) => return,
            PowerChange::Unblanking { then_blank, .. } => then_blank,
            PowerChange::BlankQueued { .. } => true,
            PowerChange::UnblankQueued { .. } => false,
        };
        output.set_power_change(PowerChange::Settled);
        if !is_blanked {
            self.note_blanked(id, false);
        }
    }

    /// Commits changes that the kernel was busy for. Called after the page flips of all outputs:
    /// drivers that add the CRTCs of other displays to the commit (i915 changing its clocks) refuse
    /// it while any of these has a frame pending.
    pub fn continue_power_changes(&mut self) {
        if !self.outputs.has_queued_power_changes() || self.backend.is_paused() {
            // What ends the pause is a modeset, which has them, too.
            return;
        }
        let now = self.iteration_start();
        let gpus: Vec<u64> = self.backend.gpus().map(|gpu| gpu.device.id()).collect();
        for (gpu, blank) in gpus.into_iter().flat_map(|gpu| [(gpu, true), (gpu, false)]) {
            let (ids, since) = self.outputs.queued_power_changes(gpu, blank);
            let Some(since) = since else { continue };
            let oldest_frame = self.outputs.oldest_pending_flip(gpu);
            let is_live = oldest_frame.is_none_or(|at| now.saturating_sub(at) < BUSY_LIMIT);
            let limit = if is_live { BUSY_LIMIT } else { BUSY_TIMEOUT };
            let result = match now.saturating_sub(since) < limit {
                true => self.commit_active(gpu, &ids, !blank),
                false => self.commit_active_blocking(gpu, &ids, !blank),
            };
            let Err(error) = result else { continue };
            let names = self.names(&ids);
            warn!(displays = names.join(" "), blank, %error, "the kernel refuses to change ACTIVE");
            for id in ids {
                if let Some(output) = self.outputs.get_mut(id) {
                    output.set_power_change(PowerChange::Settled);
                }
                self.set_pending_active(id, blank);
                if blank {
                    self.note_blanked(id, false);
                }
            }
            match blank {
                true => names.iter().for_each(|name| self.power.blank_failed(name)),
                false => {
                    let error = error.to_string();
                    self.unblank_refused(names.into_iter().map(|name| (name, error.clone())).collect());
                }
            }
        }
    }

    /// The last resort if the kernel is always busy.
    fn commit_active_blocking(&mut self, gpu: u64, ids: &[OutputId], active: bool) -> io::Result<()> {
        let names = self.names(ids);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        debug!(displays = names.join(" "), active, "the kernel stays busy; waiting for it");
        let device = self.backend.gpu_mut(gpu).ok_or_else(|| io::ErrorKind::NotFound.into());
        device.and_then(|gpu| gpu.device.set_active_blocking(&names, active))?;
        ids.iter().for_each(|id| self.active_set(*id, active, false));
        Ok(())
    }

    pub fn power_retry_due(&mut self) {
        self.power_retry_armed = false;
        // An event that is read later would count as the end of the change.
        let gpus: Vec<u64> = self.backend.gpus().map(|gpu| gpu.device.id()).collect();
        gpus.into_iter().for_each(|gpu| self.read_page_flips(gpu));
        self.continue_power_changes();
    }

    /// An output was blanked or unblanked.
    fn note_blanked(&mut self, id: OutputId, blank: bool) {
        let Some(output) = self.outputs.get_mut(id) else { return };
        output.set_blanked(blank);
        // The content of our buffers is unknown after blanking.
        output.scanout.iter_mut().filter(|_| !blank).for_each(Scanout::forget);
        let (name, waits) = (output.name.clone(), output.has_pending_flip());
        if !blank {
            self.forget_refused_unblank(&name);
        }
        self.visibility_changed = true;
        info!(display = name, blank, "display blanked or unblanked");
        match (blank, waits) {
            (true, _) => self.redraw_event(id, Event::Paused),
            // What ends the pause resumes it.
            (false, _) if self.backend.is_paused() && self.gpu_of(id).is_some() => {}
            (false, true) => self.redraw_event(id, Event::ResumedEarly),
            (false, false) => self.redraw_event(id, Event::Resumed),
        }
        self.send_power_mode(&name, blank);
        if let Some(display) = self.outputs.get(id).map(|output| self.ipc_display(output)) {
            self.publish_event(&IpcEvent::Display { display });
        }
    }
}
