//! Facts that only the service's log has so far. See the module documentation of [`super`].
//!
//! Lines are found by their fields and one or two terms, not by their sentence.

use anyhow::{Context, Result};
use geom_lab::keys::KeyCode;
use geom_lab::{Keyboard, Lid, Pointer, Touch};

use super::harness::Service;

impl Service {
    fn log(&self) -> Result<String> {
        std::fs::read_to_string(&self.compositor.log).context("the service's log")
    }

    /// How many lines of the log have all of `terms`.
    fn count_log(&self, terms: &[&str]) -> Result<usize> {
        Ok(self.log()?.lines().filter(|line| terms.iter().all(|term| line.contains(term))).count())
    }

    fn wait_for_log(&self, terms: &[&str], count: usize) -> Result<()> {
        self.machine.wait_until(&format!("{terms:?} {count} times in the log"), |_| {
            Ok(self.count_log(terms)? >= count)
        })
    }

    /// Waits until libinput has opened a device of this name, `count` times since the start.
    pub fn wait_for_input_device(&self, name: &str, count: usize) -> Result<()> {
        self.wait_for_log(&["input device added", &format!("device=\"{name}\"")], count)
    }

    /// Waits until a device of this name was removed, `count` times since the start.
    pub fn wait_for_input_device_removed(&self, name: &str, count: usize) -> Result<()> {
        self.wait_for_log(&["input device removed", &format!("device=\"{name}\"")], count)
    }

    /// Plugs in a keyboard and waits until the service has it.
    pub fn keyboard(&self, name: &str) -> Result<Keyboard<'_>> {
        let device = self.machine.keyboard(name)?;
        self.wait_for_input_device(name, 1).map(|()| device)
    }

    /// Plugs in a mouse and waits until the service has it.
    pub fn pointer(&self, name: &str) -> Result<Pointer<'_>> {
        let device = self.machine.pointer(name)?;
        self.wait_for_input_device(name, 1).map(|()| device)
    }

    /// Plugs in a touch screen and waits until the service has it.
    pub fn touch(&self, name: &str) -> Result<Touch<'_>> {
        let device = self.machine.touch(name)?;
        self.wait_for_input_device(name, 1).map(|()| device)
    }

    /// Adds a lid switch and waits until the service has it.
    pub fn lid(&self, name: &str) -> Result<Lid<'_>> {
        let device = self.machine.lid(name)?;
        self.wait_for_input_device(name, 1).map(|()| device)
    }

    /// Waits until libseat has disabled the session, `count` times since the start.
    pub fn wait_until_session_paused(&self, count: usize) -> Result<()> {
        self.wait_for_log(&["session paused"], count)
    }

    /// Switches to a VT by keys, and waits until libseat has disabled the session.
    pub fn switch_away(&self, keyboard: &Keyboard<'_>, vt: KeyCode) -> Result<()> {
        keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, vt])?;
        self.wait_until_session_paused(1)
    }

    /// Whether the GPU is drawn for with GLES.
    pub fn draws_with_gles(&self) -> Result<bool> {
        Ok(self.count_log(&["GLES"])? > 0)
    }

    /// Whether the GPU was opened without atomic modesetting.
    pub fn is_legacy(&self) -> Result<bool> {
        Ok(self.count_log(&["atomic=false"])? > 0)
    }

    /// How often a mode was set since the start.
    pub fn count_modesets(&self) -> Result<usize> {
        self.count_log(&["modeset done"])
    }

    /// Waits until a program of `--exec` has ended with this exit status.
    pub fn wait_until_program_failed(&self, status: i32) -> Result<()> {
        self.wait_for_log(&["program", &format!("code={status}")], 1)
    }

    /// How often writing the metrics file failed.
    pub fn metrics_failures(&self, file: &str) -> Result<usize> {
        self.count_log(&["metrics", file])
    }
}
