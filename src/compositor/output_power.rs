//! Blanking of outputs (DPMS): a blanked output keeps its mode, its place in the layout, its
//! `wl_output` and its windows.

use std::collections::BTreeMap;
use std::io;

use geom_ipc::Event as IpcEvent;
use geom_kms::Probe;
use tracing::{info, warn};

use super::State;
use crate::output::redraw::Event;
use crate::output::scanout::{Scanout, Target};
use crate::output::OutputId;

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

    /// Blanks or unblanks enabled outputs, all of them or none.
    ///
    /// # Errors
    /// If an output is not enabled, or the kernel refuses; all stay as they were.
    pub fn set_blanked(&mut self, names: &[String], blank: bool) -> Result<(), String> {
        let mut changed = Vec::new();
        let mut by_gpu: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for name in names {
            let output = self.outputs.named(name).filter(|output| output.is_enabled());
            let output = output.ok_or_else(|| format!("display {name} is not enabled"))?;
            if output.state().blanked == blank {
                continue;
            }
            changed.push(output.id);
            if let Some(Target::Crtc { gpu, .. }) = output.scanout.as_ref().map(|scanout| scanout.target()) {
                by_gpu.entry(gpu).or_default().push(name);
            }
        }
        self.commit_active(&by_gpu, !blank).inspect_err(|error| {
            warn!(blank, error, "the kernel refuses to change ACTIVE");
        })?;
        for id in changed {
            self.note_blanked(id, blank);
        }
        Ok(())
    }

    /// Sets ACTIVE of outputs by one commit for each GPU, after all GPUs have tested theirs.
    fn commit_active(&mut self, by_gpu: &BTreeMap<u64, Vec<&str>>, active: bool) -> Result<(), String> {
        if !by_gpu.is_empty() && self.backend.is_paused() {
            return Err(self.backend.pause_reason().to_owned());
        }
        let refused = |names: &[&str], error: &io::Error| format!("{}: {error}", names.join(", "));
        // The commit of a single GPU is its own test.
        if by_gpu.len() > 1 {
            for (gpu, names) in by_gpu {
                let gpu = self.backend.gpu(*gpu).ok_or_else(|| io::ErrorKind::NotFound.into());
                let tested = gpu.and_then(|gpu| gpu.device.test_active(names, active));
                tested.map_err(|error| refused(names, &error))?;
            }
        }
        let mut committed: Vec<(u64, &[&str])> = Vec::new();
        for (id, names) in by_gpu {
            let gpu = self.backend.gpu_mut(*id).ok_or_else(|| io::ErrorKind::NotFound.into());
            if let Err(error) = gpu.and_then(|gpu| gpu.device.set_active(names, active)) {
                for (id, names) in committed {
                    let Some(gpu) = self.backend.gpu_mut(id) else { continue };
                    if let Err(error) = gpu.device.set_active(names, !active) {
                        warn!(displays = names.join(" "), %error, "cannot roll ACTIVE back");
                    }
                }
                return Err(refused(names, &error));
            }
            committed.push((*id, names));
        }
        Ok(())
    }

    /// An output was blanked or unblanked.
    fn note_blanked(&mut self, id: OutputId, blank: bool) {
        let Some(output) = self.outputs.get_mut(id) else { return };
        output.set_blanked(blank);
        // The content of our buffers is unknown after blanking.
        output.scanout.iter_mut().filter(|_| !blank).for_each(Scanout::forget);
        let name = output.name.clone();
        if !blank {
            self.forget_refused_unblank(&name);
        }
        self.visibility_changed = true;
        info!(display = name, blank, "display blanked or unblanked");
        self.redraw_event(id, if blank { Event::Paused } else { Event::Resumed });
        self.send_power_mode(&name, blank);
        if let Some(display) = self.outputs.get(id).map(|output| self.ipc_display(output)) {
            self.publish_event(&IpcEvent::Display { display });
        }
    }
}
