//! Video modes, and modes as the configuration writes them.

use std::fmt;
use std::str::FromStr;

use crate::modeline::{Blanking, Modeline};

/// Refresh rate in millihertz of a CVT mode that is written without one.
const DEFAULT_CVT_REFRESH: u32 = 60_000;

/// Difference in millihertz between a configured refresh rate and that of a matching mode, since
/// people write 60 for 59.94.
const REFRESH_TOLERANCE: u32 = 500;

/// A mode of a connector's list, or of a virtual display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode {
    /// Active pixels of a line.
    pub width: u16,
    /// Active lines.
    pub height: u16,
    /// Vertical refresh rate in millihertz; twice the frame rate for interlaced modes.
    pub refresh: u32,
    /// Whether the mode is interlaced.
    pub interlaced: bool,
    /// Whether the monitor prefers it (DRM_MODE_TYPE_PREFERRED).
    pub preferred: bool,
    /// Whether the kernel's command line asks for it (`video=`, DRM_MODE_TYPE_USERDEF).
    pub requested: bool,
    /// Index in the connector's list, by which the backend finds the full timing.
    pub index: usize,
    /// The timing of a mode that is not in the connector's list.
    pub modeline: Option<Modeline>,
}

impl Mode {
    /// Returns a progressive mode of a virtual display; `refresh` is in millihertz.
    pub fn new(width: u16, height: u16, refresh: u32) -> Self {
        Self {
            width,
            height,
            refresh,
            interlaced: false,
            preferred: true,
            requested: false,
            index: 0,
            modeline: None,
        }
    }

    /// Returns the mode of a timing that is not in the connector's list.
    pub fn from_modeline(line: Modeline) -> Self {
        Self {
            width: line.horizontal[0],
            height: line.vertical[0],
            refresh: line.refresh(),
            interlaced: line.interlaced,
            preferred: false,
            requested: false,
            index: usize::MAX,
            modeline: Some(line),
        }
    }

    /// Returns the number of active pixels.
    pub fn area(&self) -> u32 {
        u32::from(self.width) * u32::from(self.height)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.interlaced { "i" } else { "" };
        let hertz = f64::from(self.refresh) / 1000.0;
        write!(f, "{}x{}{suffix}@{hertz:.2}", self.width, self.height)
    }
}

/// A mode as the configuration writes it.
///
/// `1920x1080` or `1920x1080@59.94` selects from the monitor's list; `1920x1080@59.94 cvt` (or
/// `cvt-rb`, `cvt-rb2`) computes a timing; a modeline gives the timing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConfiguredMode {
    /// Active pixels of a line.
    pub width: u16,
    /// Active lines.
    pub height: u16,
    /// Refresh rate in millihertz; without one, the highest rate of that size.
    pub refresh: Option<u32>,
    /// The timing, if it does not come from the monitor's list.
    pub modeline: Option<Modeline>,
}

impl ConfiguredMode {
    /// Returns whether a mode is the configured one, give or take half a hertz.
    pub fn matches(&self, mode: &Mode) -> bool {
        (mode.width, mode.height) == (self.width, self.height)
            && self.modeline.is_none_or(|line| mode.modeline == Some(line))
            && self.refresh.is_none_or(|refresh| mode.refresh.abs_diff(refresh) <= REFRESH_TOLERANCE)
    }
}

impl From<Modeline> for ConfiguredMode {
    fn from(line: Modeline) -> Self {
        let mode = Mode::from_modeline(line);
        Self { width: mode.width, height: mode.height, refresh: Some(mode.refresh), modeline: Some(line) }
    }
}

impl fmt::Display for ConfiguredMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = &self.modeline {
            return line.fmt(f);
        }
        write!(f, "{}x{}", self.width, self.height)?;
        match self.refresh {
            Some(refresh) => write!(f, "@{}", f64::from(refresh) / 1000.0),
            None => Ok(()),
        }
    }
}

impl FromStr for ConfiguredMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not a mode; write \"1920x1080\" or \"1920x1080@59.94\"");
        // Only a modeline has more than two words.
        if text.split_whitespace().count() > 2 {
            return text.parse::<Modeline>().map(Self::from);
        }
        if let Some((listed, formula)) = text.trim().split_once(char::is_whitespace) {
            let blanking = formula.trim().parse::<Blanking>().map_err(|_| invalid())?;
            let Self { width, height, refresh, .. } = listed.parse()?;
            let refresh = refresh.unwrap_or(DEFAULT_CVT_REFRESH);
            return Modeline::cvt(width, height, refresh, blanking).map(Self::from);
        }
        let (size, refresh) = match text.split_once('@') {
            Some((size, refresh)) => (size, Some(refresh)),
            None => (text, None),
        };
        let (width, height) = size.split_once('x').ok_or_else(invalid)?;
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| *number > 0);
        let refresh = match refresh {
            None => None,
            Some(text) => {
                let hertz: f64 = text.trim().trim_end_matches("Hz").parse().map_err(|_| invalid())?;
                if !(1.0..=1000.0).contains(&hertz) {
                    return Err(invalid());
                }
                Some((hertz * 1000.0).round() as u32)
            }
        };
        match (number(width), number(height)) {
            (Some(width), Some(height)) => Ok(Self { width, height, refresh, modeline: None }),
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_modes_round_trip_and_invalid_ones_are_refused() {
        for text in ["1920x1080", "1920x1080@59.94", "640x480@60"] {
            assert_eq!(text.parse::<ConfiguredMode>().map(|mode| mode.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "1920", "1920x", "0x0", "1920x1080@", "1920x1080@0", "1920x1080@-60", "99999x1", "axb"]
        {
            assert!(text.parse::<ConfiguredMode>().is_err(), "{text}");
        }
    }

    #[test]
    fn cvt_mode_matches_only_its_own_timing() {
        let cvt = "1920x1080@60 cvt".parse::<ConfiguredMode>().expect("a mode");
        assert_eq!(cvt.to_string(), "173.000 1920 2048 2248 2576 1080 1083 1088 1120 -hsync +vsync");
        assert_eq!(cvt.to_string().parse(), Ok(cvt));
        assert!(!cvt.matches(&Mode::new(1920, 1080, 60_000)));
        assert!(cvt.modeline.is_some_and(|line| cvt.matches(&Mode::from_modeline(line))));
        assert!("1920x1080 tube".parse::<ConfiguredMode>().is_err());
    }

    #[test]
    fn refresh_matches_within_half_a_hertz() {
        let mode = Mode::new(1920, 1080, 59_940);
        let matches =
            |text: &str| text.parse::<ConfiguredMode>().is_ok_and(|configured| configured.matches(&mode));
        assert!(matches("1920x1080@60"));
        assert!(!matches("1920x1080@50") && "1920x1080@50".parse::<ConfiguredMode>().is_ok());
    }
}
