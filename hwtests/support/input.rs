//! Input devices that tests plug in, and that the service has opened.

use anyhow::Result;
use geom_lab::keys::KeyCode;
use geom_lab::{Keyboard, Lid, Pen, Pointer, Touch};

use super::harness::Service;

impl Service {
    /// Waits until libinput has opened, or closed, a device of this name.
    ///
    /// The device's descriptor in /proc is no proof, as libinput drains it after opening it, and
    /// events from before that are lost.
    fn wait_until_input_device_present(&self, name: &str, present: bool) -> Result<()> {
        let what = format!("the input device {name} present: {present}");
        let is_expected = |devices: &Vec<geom_ipc::InputDevice>| {
            devices.iter().any(|device| device.name == name) == present
        };
        self.wait_for_answer(&what, || self.input_devices(), is_expected).map(drop)
    }

    /// Waits until the service has closed a device that was unplugged.
    pub fn wait_for_input_device_removed(&self, name: &str) -> Result<()> {
        self.wait_until_input_device_present(name, false)
    }

    /// Plugs in a keyboard and waits until the service has it.
    pub fn keyboard(&self, name: &str) -> Result<Keyboard<'_>> {
        let device = self.machine.keyboard(name)?;
        self.wait_until_input_device_present(name, true).map(|()| device)
    }

    /// Plugs in a mouse and waits until the service has it.
    pub fn pointer(&self, name: &str) -> Result<Pointer<'_>> {
        let device = self.machine.pointer(name)?;
        self.wait_until_input_device_present(name, true).map(|()| device)
    }

    /// Plugs in a touchscreen and waits until the service has it.
    pub fn touch(&self, name: &str) -> Result<Touch<'_>> {
        let device = self.machine.touch(name)?;
        self.wait_until_input_device_present(name, true).map(|()| device)
    }

    /// Plugs in a pen display with a pen and waits until the service has it.
    pub fn pen(&self, name: &str) -> Result<Pen<'_>> {
        let device = self.machine.pen(name)?;
        self.wait_until_input_device_present(name, true).map(|()| device)
    }

    /// Plugs in a touchscreen without a physical size at a port, and waits until the service has
    /// it.
    pub fn touch_at(&self, name: &str, port: &str) -> Result<Touch<'_>> {
        let device = Touch::create_at(&self.machine, name, port)?;
        let is_there = |devices: &Vec<geom_ipc::InputDevice>| {
            devices.iter().any(|device| device.port.as_deref() == Some(port))
        };
        self.wait_for_answer(&format!("the touchscreen at {port}"), || self.input_devices(), is_there)?;
        Ok(device)
    }

    /// Adds a lid switch and waits until the service has it.
    pub fn lid(&self, name: &str) -> Result<Lid<'_>> {
        let device = self.machine.lid(name)?;
        self.wait_until_input_device_present(name, true).map(|()| device)
    }

    /// Switches to a VT by keys, and waits until libseat has disabled the session.
    pub fn switch_away(&self, keyboard: &Keyboard<'_>, vt: KeyCode) -> Result<()> {
        keyboard.chord(&[KeyCode::KEY_LEFTCTRL, KeyCode::KEY_LEFTALT, vt])?;
        self.wait_until_session_inactive()
    }
}
