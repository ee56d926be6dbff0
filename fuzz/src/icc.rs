//! ICC profiles of monitors, which users own.

use geom_color::icc::IccProfile;

use crate::Violation;

/// Checks the profile and a few conversions.
///
/// # Errors
/// If a converted signal is not from 0 to 1.
pub fn icc(bytes: &[u8]) -> Result<(), Violation> {
    let Ok(profile) = IccProfile::parse(bytes) else { return Ok(()) };
    for signal in [[0.0; 3], [1.0; 3], [0.5, 0.1, 0.9], [-1.0, 2.0, f64::NAN]] {
        let converted = profile.convert(signal);
        let is_finite = signal.iter().all(|value| value.is_finite());
        if is_finite && !converted.iter().all(|value| (-1e-6..=1.0 + 1e-6).contains(value)) {
            return Err(format!("{signal:?} becomes {converted:?}"));
        }
    }
    Ok(())
}
