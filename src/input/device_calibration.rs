//! libinput's calibration matrices of devices.

use smithay::reexports::input::Device;

use super::calibration::{Matrix, IDENTITY};
use super::devices::DeviceInfo;
use super::settings::{Setting, Settings, Source};
use super::Input;
use crate::config::Config;

/// How many devices are remembered that were calibrated in this session.
const MAX_KEPT: usize = 64;

/// A device that was calibrated while the service runs.
#[derive(Debug)]
struct Kept {
    sysname: String,
    name: String,
    matrix: [f32; 6],
    /// What the configuration had for it then.
    configured: Option<[f32; 6]>,
}

/// The devices that were calibrated while the service runs. Their matrices are in place of the
/// configured ones, also when libinput opens them again after a VT switch, until the configuration
/// has another one.
#[derive(Debug, Default)]
pub struct KeptCalibrations(Vec<Kept>);

impl KeptCalibrations {
    /// Keeps a device's matrix.
    pub fn keep(&mut self, info: &DeviceInfo, settings: &Settings, matrix: [f32; 6]) {
        // A matrix of this session has replaced the configured one.
        let known = self.0.iter().find(|kept| kept.is_of(info)).map(|kept| kept.configured);
        let configured = known.unwrap_or_else(|| settings.calibration.as_ref().map(|setting| setting.value));
        self.0.retain(|kept| kept.sysname != info.sysname);
        if self.0.len() < MAX_KEPT {
            let (sysname, name) = (info.sysname.clone(), info.name.clone());
            self.0.push(Kept { sysname, name, matrix, configured });
        }
    }

    /// Forgets a device that was unplugged, by its name in /dev/input.
    pub fn forget(&mut self, sysname: &str) {
        self.0.retain(|kept| kept.sysname != sysname);
    }

    /// Puts the matrix of this session in place of the configured one.
    pub fn apply(&mut self, info: &DeviceInfo, settings: &mut Settings) {
        let configured = settings.calibration.as_ref().map(|setting| setting.value);
        self.0.retain(|kept| !kept.is_of(info) || kept.configured == configured);
        if let Some(kept) = self.0.iter().find(|kept| kept.is_of(info)) {
            settings.calibration = Some(Setting { value: kept.matrix, source: Source::Calibrated });
        }
    }
}

impl Kept {
    fn is_of(&self, info: &DeviceInfo) -> bool {
        self.sysname == info.sysname && self.name == info.name
    }
}

/// Returns the matrix as libinput has it.
fn rounded(matrix: Matrix) -> [f32; 6] {
    matrix.map(|number| number as f32)
}

fn set(device: &mut Device, matrix: Matrix) -> Result<(), String> {
    let result = device.config_calibration_set_matrix(rounded(matrix));
    result.map_err(|error| format!("libinput refuses to calibrate {}: {error:?}", device.sysname()))
}

impl Input {
    /// Returns the calibration matrix of a device, by its name in /dev/input. `None` if libinput
    /// cannot calibrate it.
    pub fn calibration(&self, sysname: &str) -> Option<Matrix> {
        #[cfg(test)]
        if let Some(matrix) = self.fake_calibrations.get(sysname) {
            return Some(*matrix);
        }
        let device = self.devices.handle(sysname)?;
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
        set(self.devices.handle_mut(sysname).ok_or("the device is gone")?, matrix)
    }

    /// Keeps a device's matrix in place of the configured one.
    pub fn keep_calibration(&mut self, sysname: &str, matrix: Matrix, config: &Config) {
        self.devices.calibrated(sysname, rounded(matrix), config);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: [f32; 6] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.5];
    const NEW: [f32; 6] = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0];

    fn configured(matrix: Option<[f32; 6]>) -> Settings {
        let calibration = matrix.map(|value| Setting { value, source: Source::Entry(3) });
        Settings { calibration, ..Settings::default() }
    }

    fn applied(kept: &mut KeptCalibrations, info: &DeviceInfo, matrix: Option<[f32; 6]>) -> Option<[f32; 6]> {
        let mut settings = configured(matrix);
        kept.apply(info, &mut settings);
        settings.calibration.map(|setting| setting.value)
    }

    #[test]
    fn matrix_of_the_session_applies_until_the_configuration_has_another_one() {
        let info = DeviceInfo { sysname: "event3".into(), name: "panel".into(), ..DeviceInfo::default() };
        let other = DeviceInfo { name: "other".into(), ..info.clone() };
        let mut kept = KeptCalibrations::default();
        assert_eq!(applied(&mut kept, &info, Some(OLD)), Some(OLD));
        kept.keep(&info, &configured(Some(OLD)), NEW);
        // Opened again, and calibrated again.
        assert_eq!(applied(&mut kept, &info, Some(OLD)), Some(NEW));
        assert_eq!(applied(&mut kept, &other, None), None);
        kept.keep(&info, &configured(Some(NEW)), NEW);
        assert_eq!(applied(&mut kept, &info, Some(OLD)), Some(NEW));
        // Unplugged.
        let mut unplugged = KeptCalibrations::default();
        unplugged.keep(&info, &configured(None), NEW);
        unplugged.forget("event3");
        assert_eq!(applied(&mut unplugged, &info, None), None);
        // It was saved, and then removed from the configuration.
        assert_eq!(applied(&mut kept, &info, Some(NEW)), Some(NEW));
        assert_eq!(applied(&mut kept, &info, None), None);
    }
}
