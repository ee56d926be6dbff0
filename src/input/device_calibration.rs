//! libinput's calibration matrices of devices.

use smithay::reexports::input::Device;
use tracing::debug;

use super::calibration::{Matrix, IDENTITY};
use super::Input;

/// How many devices are remembered that were calibrated in this session.
const MAX_KEPT: usize = 64;

/// A device that was calibrated while the service runs, and its matrix.
#[derive(Debug)]
pub struct KeptCalibration {
    sysname: String,
    name: String,
    matrix: Matrix,
}

fn set(device: &mut Device, matrix: Matrix) -> Result<(), String> {
    let result = device.config_calibration_set_matrix(matrix.map(|number| number as f32));
    result.map_err(|error| format!("libinput refuses to calibrate {}: {error:?}", device.name()))
}

impl Input {
    /// Returns the calibration matrix of a device, by its name in /dev/input. `None` if libinput
    /// cannot calibrate it.
    pub fn calibration(&self, sysname: &str) -> Option<Matrix> {
        #[cfg(test)]
        if let Some(matrix) = self.fake_calibrations.get(sysname) {
            return Some(*matrix);
        }
        let device = self.handles.iter().find(|device| device.sysname() == sysname)?;
        let present = || device.config_calibration_matrix().map(|matrix| matrix.map(f64::from));
        device.config_calibration_has_matrix().then(|| present().unwrap_or(IDENTITY))
    }

    /// Sets the calibration matrix of a device, by its name in /dev/input.
    ///
    /// # Errors
    /// If the device is gone, or libinput refuses it.
    pub fn set_calibration(&mut self, sysname: &str, matrix: Matrix) -> Result<(), String> {
        #[cfg(test)]
        if let Some(fake) = self.fake_calibrations.get_mut(sysname) {
            *fake = matrix;
            return Ok(());
        }
        let device = self.handles.iter_mut().find(|device| device.sysname() == sysname);
        set(device.ok_or("the device is gone")?, matrix)
    }

    /// Keeps a device's matrix for when libinput opens it again, as after a VT switch.
    pub fn keep_calibration(&mut self, sysname: &str, name: &str, matrix: Matrix) {
        self.kept_calibrations.retain(|kept| kept.sysname != sysname);
        if self.kept_calibrations.len() < MAX_KEPT {
            let (sysname, name) = (sysname.to_owned(), name.to_owned());
            self.kept_calibrations.push(KeptCalibration { sysname, name, matrix });
        }
    }
}

/// Sets the matrix of a device that was calibrated while the service runs, and is opened again.
pub fn restore(device: &mut Device, kept: &[KeptCalibration]) {
    let own = kept.iter().find(|kept| kept.sysname == device.sysname() && kept.name == device.name());
    if let Some(Err(error)) = own.map(|kept| set(device, kept.matrix)) {
        debug!(error, "calibration not restored");
    }
}
