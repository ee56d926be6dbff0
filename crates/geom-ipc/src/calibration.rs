//! The calibration of a touchscreen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a calibration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationState {
    /// The display shows a target, and waits until it is touched.
    Target,
    /// It ended with a matrix, which applies until the device is unplugged or the service ends.
    Finished,
    /// It ended without one. The device is as it was before.
    Ended,
    /// A state of a later version of the protocol.
    #[serde(other)]
    Unknown,
}

/// The calibration of a touchscreen or a pen display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Calibration {
    /// Kernel name of the device in /dev/input, such as `event3`.
    pub sysname: String,
    /// Name that the device reports.
    pub name: String,
    /// Name of the display that shows the targets.
    pub display: String,
    /// Where it is.
    pub state: CalibrationState,
    /// Number of the present target, from 1 to `targets`.
    pub target: u32,
    /// Number of targets. The last one checks the matrix.
    pub targets: u32,
    /// Why the target is shown again, or why the calibration ended without a matrix. For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The matrix that was found: the first two rows, as libinput's calibration matrix and
    /// `calibration` of the configuration have it. Relative to the device without calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<[f64; 6]>,
}
