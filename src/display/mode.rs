//! A video mode, as plans speak of it.

use std::fmt;
use std::str::FromStr;

use super::modeline::{Blanking, Modeline};

/// A mode of a connector's list, or of a virtual display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode {
    /// Active pixels.
    pub width: u16,
    pub height: u16,
    /// Vertical refresh in millihertz; twice the frame rate for interlaced modes.
    pub refresh: u32,
    pub interlaced: bool,
    /// The monitor's own preference (DRM_MODE_TYPE_PREFERRED).
    pub preferred: bool,
    /// Place in the connector's list, by which the device knows its full timing.
    pub index: usize,
    /// Its timing, where it stands in no connector's list.
    pub modeline: Option<Modeline>,
}

impl Mode {
    /// A progressive mode that stands in no list.
    pub fn new(width: u16, height: u16, refresh: u32) -> Self {
        Self { width, height, refresh, interlaced: false, preferred: true, index: 0, modeline: None }
    }

    /// A mode of a timing that somebody wrote.
    pub fn custom(line: Modeline) -> Self {
        Self {
            width: line.horizontal[0],
            height: line.vertical[0],
            refresh: line.refresh(),
            interlaced: line.interlaced,
            preferred: false,
            index: usize::MAX,
            modeline: Some(line),
        }
    }

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

/// A mode as a person writes it: `1920x1080` or `1920x1080@59.94` of the monitor's list; `1920x1080@59.94 cvt` (or `cvt-rb`,
/// `cvt-rb2`) by formula; or a modeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModeWish {
    pub width: u16,
    pub height: u16,
    /// Millihertz; the highest of that size where it is not given.
    pub refresh: Option<u32>,
    /// The timing itself, whatever is in the list.
    pub modeline: Option<Modeline>,
}

impl ModeWish {
    /// Whether a mode fulfils the wish; half a hertz of rounding is forgiven.
    pub fn is_met_by(&self, mode: &Mode) -> bool {
        (mode.width, mode.height) == (self.width, self.height)
            && self.modeline.is_none_or(|line| mode.modeline == Some(line))
            && self.refresh.is_none_or(|wished| mode.refresh.abs_diff(wished) <= 500)
    }
}

impl From<Modeline> for ModeWish {
    fn from(line: Modeline) -> Self {
        let mode = Mode::custom(line);
        Self { width: mode.width, height: mode.height, refresh: Some(mode.refresh), modeline: Some(line) }
    }
}

impl fmt::Display for ModeWish {
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

impl FromStr for ModeWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a mode; write \"1920x1080\" or \"1920x1080@59.94\"");
        // A modeline has many numbers, and no size in one word.
        if text.split_whitespace().count() > 2 {
            return text.parse::<Modeline>().map(Self::from);
        }
        if let Some((listed, formula)) = text.trim().split_once(char::is_whitespace) {
            let known = Blanking::NAMES.iter().find(|(name, _)| *name == formula.trim());
            let (_, blanking) = known.ok_or_else(wrong)?;
            let Self { width, height, refresh, .. } = listed.parse()?;
            return Modeline::cvt(width, height, refresh.unwrap_or(60_000), *blanking).map(Self::from);
        }
        let (size, refresh) = match text.split_once('@') {
            Some((size, refresh)) => (size, Some(refresh)),
            None => (text, None),
        };
        let (width, height) = size.split_once('x').ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| *number > 0);
        let refresh = match refresh {
            None => None,
            Some(text) => {
                let hertz: f64 = text.trim().trim_end_matches("Hz").parse().map_err(|_| wrong())?;
                if !(1.0..=1000.0).contains(&hertz) {
                    return Err(wrong());
                }
                Some((hertz * 1000.0).round() as u32)
            }
        };
        match (number(width), number(height)) {
            (Some(width), Some(height)) => Ok(Self { width, height, refresh, modeline: None }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_and_written() {
        for text in ["1920x1080", "1920x1080@59.94", "640x480@60"] {
            assert_eq!(text.parse::<ModeWish>().map(|wish| wish.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "1920", "1920x", "0x0", "1920x1080@", "1920x1080@0", "1920x1080@-60", "99999x1", "axb"]
        {
            assert!(text.parse::<ModeWish>().is_err(), "{text}");
        }
    }

    #[test]
    fn timings_of_one_s_own() {
        let cvt = "1920x1080@60 cvt".parse::<ModeWish>().expect("a mode");
        assert_eq!(cvt.to_string(), "173.000 1920 2048 2248 2576 1080 1083 1088 1120 -hsync +vsync");
        assert_eq!(cvt.to_string().parse(), Ok(cvt));
        assert!(!cvt.is_met_by(&Mode::new(1920, 1080, 60_000)));
        assert!(cvt.modeline.is_some_and(|line| cvt.is_met_by(&Mode::custom(line))));
        assert!("1920x1080 tube".parse::<ModeWish>().is_err());
    }

    #[test]
    fn a_wish_forgives_rounding() {
        let mode = Mode::new(1920, 1080, 59_940);
        assert!("1920x1080@60".parse::<ModeWish>().is_ok_and(|wish| wish.is_met_by(&mode)));
        assert!("1920x1080@50".parse::<ModeWish>().is_ok_and(|wish| !wish.is_met_by(&mode)));
    }
}
