//! Blanking of outputs (DPMS): a blanked output keeps its mode, its place in the layout, its
//! `wl_output` and its windows.

use std::collections::BTreeMap;
use std::io;

use geom_ipc::Event as IpcEvent;
use tracing::{info, warn};

use super::State;
use crate::output::redraw::Event;
use crate::output::scanout::{Scanout, Target};
use crate::output::OutputId;

impl State {
    /// Blanks or unblanks enabled outputs on request, all of them or none. A request to unblank
    /// counts as user activity, which ends idle blanking.
    ///
    /// # Errors
    /// As [`State::set_blanked`].
    pub fn blank(&mut self, names: &[String], blank: bool) -> Result<(), String> {
        if !blank {
            self.activity();
        }
        self.set_blanked(names, blank)
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
        info!(display = name, blank, "display blanked or unblanked");
        self.redraw_event(id, if blank { Event::Paused } else { Event::Resumed });
        self.send_power_mode(&name, blank);
        if let Some(display) = self.outputs.get(id).map(|output| self.ipc_display(output)) {
            self.publish_event(&IpcEvent::Display { display });
        }
    }
}
