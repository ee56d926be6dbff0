//! Timings that stand in no monitor's list: modelines, and those that VESA's formula gives. Pure.
//!
//! Source: VESA Coordinated Video Timings 1.2 (the formulas of its sections 3.4 to 3.6); a modeline is written as xorg.conf(5) has it.

use std::fmt;
use std::str::FromStr;

/// A full timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Modeline {
    /// Pixel clock in kHz.
    pub clock: u32,
    /// Pixels: shown, where the pulse begins, where it ends, all.
    pub horizontal: [u16; 4],
    /// Lines, in the same way.
    pub vertical: [u16; 4],
    /// The pulse goes up.
    pub hsync: bool,
    pub vsync: bool,
    pub interlaced: bool,
    pub doublescan: bool,
}

/// How much of each line and picture is left dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blanking {
    /// Room for a tube's beam to return.
    Cvt,
    /// For flat panels.
    Reduced,
    /// For flat panels, the second version: least room, any width.
    Reduced2,
}

impl Blanking {
    pub const NAMES: [(&'static str, Self); 3] =
        [("cvt", Self::Cvt), ("cvt-rb", Self::Reduced), ("cvt-rb2", Self::Reduced2)];
}

/// Lines of the vertical pulse by the picture's shape (CVT 1.2, table 3-2); other shapes have 10.
const SHAPES: [((u32, u32), u32); 5] = [((4, 3), 4), ((16, 9), 5), ((16, 10), 6), ((5, 4), 7), ((15, 9), 7)];

fn pulse_lines(width: u32, height: u32) -> u32 {
    let fits = |((wide, high), _): &&((u32, u32), u32)| height * wide / high / 8 * 8 == width;
    SHAPES.iter().find(fits).map_or(10, |(_, lines)| *lines)
}

/// The least of dark lines before the pulse, and after it.
const FRONT: u32 = 3;
const BACK: u32 = 6;

impl Modeline {
    /// The timing of a size and refresh (millihertz).
    ///
    /// # Errors
    /// In words: where the formula has none, or none that a mode could hold.
    pub fn cvt(width: u16, height: u16, refresh: u32, blanking: Blanking) -> Result<Self, String> {
        let (wide, high) = (u32::from(width), u32::from(height));
        if blanking != Blanking::Reduced2 && wide % 8 != 0 {
            return Err(format!(
                "CVT has widths in steps of 8: write {} or {}, or cvt-rb2, or a modeline",
                wide / 8 * 8,
                wide / 8 * 8 + 8
            ));
        }
        if refresh == 0 {
            return Err("CVT needs a refresh".into());
        }
        let hertz = f64::from(refresh) / 1000.0;
        let pulse = pulse_lines(wide, high);
        // Microseconds of a frame that are left for lines, and of one line.
        let line = |dark: f64, lines: u32| {
            let line = (1e6 / hertz - dark) / f64::from(lines);
            (line > 0.0).then_some(line).ok_or_else(|| format!("no time for {high} lines at {hertz} Hz"))
        };
        let (horizontal, vertical, clock) = match blanking {
            Blanking::Cvt => {
                let line = line(550.0, high + FRONT)?;
                let back = ((550.0 / line) as u32 + 1).max(pulse + BACK);
                // At least a fifth of a line is dark.
                let duty = (30.0 - 0.3 * line).max(20.0);
                let dark = (f64::from(wide) * duty / (100.0 - duty) / 16.0) as u32 * 16;
                let total = wide + dark;
                let sync = (0.08 * f64::from(total) / 8.0) as u32 * 8;
                let end = wide + dark / 2;
                let clock = (f64::from(total) / line * 4.0).floor() * 250.0;
                let from = high + FRONT;
                ([wide, end - sync.min(dark / 2), end, total], [high, from, from + pulse, from + back], clock)
            }
            Blanking::Reduced => {
                let line = line(460.0, high)?;
                let dark = ((460.0 / line) as u32 + 1).max(FRONT + pulse + BACK);
                let total = (wide + 160, high + dark);
                let clock = (hertz * f64::from(total.0) * f64::from(total.1) / 250_000.0).floor() * 250.0;
                let from = high + FRONT;
                ([wide, wide + 48, wide + 80, total.0], [high, from, from + pulse, total.1], clock)
            }
            Blanking::Reduced2 => {
                let line = line(460.0, high)?;
                let dark = ((460.0 / line) as u32 + 1).max(1 + 8 + BACK);
                let total = (wide + 80, high + dark);
                let clock = (hertz * f64::from(total.0) * f64::from(total.1) / 1000.0).floor();
                let to = total.1 - BACK;
                ([wide, wide + 8, wide + 40, total.0], [high, to - 8, to, total.1], clock)
            }
        };
        let small = |numbers: [u32; 4]| {
            let small = numbers.map(|number| u16::try_from(number).ok());
            let [Some(shown), Some(from), Some(to), Some(all)] = small else {
                return Err(format!("{width}x{height} is more than a mode can hold"));
            };
            Ok([shown, from, to, all])
        };
        let (hsync, vsync) =
            (blanking == Blanking::Reduced || blanking == Blanking::Reduced2, blanking == Blanking::Cvt);
        let (interlaced, doublescan) = (false, false);
        let (horizontal, vertical, clock) = (small(horizontal)?, small(vertical)?, clock as u32);
        Self { clock, horizontal, vertical, hsync, vsync, interlaced, doublescan }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let rises = |[shown, from, to, all]: [u16; 4]| shown > 0 && shown <= from && from <= to && to <= all;
        if !rises(self.horizontal) || !rises(self.vertical) {
            return Err("a modeline's numbers rise: shown, pulse begins, pulse ends, all".into());
        }
        if !(1_000..=10_000_000).contains(&self.clock) {
            return Err(format!(
                "a pixel clock of {} MHz is none: 1 to 10000",
                f64::from(self.clock) / 1000.0
            ));
        }
        if !(1_000..=1_000_000).contains(&self.refresh()) {
            return Err(format!("a refresh of {} Hz is none: 1 to 1000", f64::from(self.refresh()) / 1000.0));
        }
        Ok(self)
    }

    /// Millihertz, fields of interlaced modes counted, as the kernel has it (drm_mode_vrefresh()).
    pub fn refresh(&self) -> u32 {
        let pixels = u64::from(self.horizontal[3]) * u64::from(self.vertical[3]);
        if pixels == 0 {
            return 0;
        }
        let refresh = u64::from(self.clock) * 1_000_000 / pixels;
        let refresh = if self.interlaced { refresh * 2 } else { refresh };
        let refresh = if self.doublescan { refresh / 2 } else { refresh };
        u32::try_from(refresh).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Modeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3}", f64::from(self.clock) / 1000.0)?;
        for number in self.horizontal.iter().chain(&self.vertical) {
            write!(formatter, " {number}")?;
        }
        let sign = |up: bool| if up { '+' } else { '-' };
        write!(formatter, " {}hsync {}vsync", sign(self.hsync), sign(self.vsync))?;
        let flags = [(self.interlaced, " interlace"), (self.doublescan, " doublescan")];
        flags.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| formatter.write_str(word))
    }
}

impl FromStr for Modeline {
    type Err = String;

    /// As cvt(1) and gtf(1) print it, with or without `Modeline "name"` before.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no modeline; write \"173.0 1920 2048 2248 2576 1080 1083 1088 1120 -hsync +vsync\"")
        };
        let mut words = text.split_whitespace().peekable();
        if words.next_if(|word| word.eq_ignore_ascii_case("modeline")).is_some() {
            words.next_if(|word| word.starts_with('"'));
        }
        let megahertz: f64 = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
        if !(0.0..=10_000.0).contains(&megahertz) {
            return Err(wrong());
        }
        let mut four = || -> Option<[u16; 4]> {
            let mut numbers = [0; 4];
            for number in &mut numbers {
                *number = words.next()?.parse().ok()?;
            }
            Some(numbers)
        };
        let (horizontal, vertical) = (four().ok_or_else(wrong)?, four().ok_or_else(wrong)?);
        let clock = (megahertz * 1000.0).round() as u32;
        let (hsync, vsync, interlaced, doublescan) = (false, false, false, false);
        let mut line = Self { clock, horizontal, vertical, hsync, vsync, interlaced, doublescan };
        for word in words {
            match word.to_ascii_lowercase().as_str() {
                "+hsync" => line.hsync = true,
                "+vsync" => line.vsync = true,
                "-hsync" | "-vsync" => {}
                "interlace" => line.interlaced = true,
                "doublescan" => line.doublescan = true,
                _ => return Err(format!("{word:?} is no flag of a modeline")),
            }
        }
        line.checked()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What cvt(1) of X.org prints for these. (Where a pulse is a multiple of 8 anyhow it begins 8 later than the standard says.)
    #[test]
    fn as_cvt_has_it() {
        for ((width, height, hertz, blanking), line) in [
            (
                (1920, 1080, 60, Blanking::Cvt),
                "173.000 1920 2048 2248 2576 1080 1083 1088 1120 -hsync +vsync",
            ),
            (
                (1920, 1080, 60, Blanking::Reduced),
                "138.500 1920 1968 2000 2080 1080 1083 1088 1111 +hsync -vsync",
            ),
            (
                (1280, 1024, 75, Blanking::Cvt),
                "138.750 1280 1368 1504 1728 1024 1027 1034 1072 -hsync +vsync",
            ),
            ((1024, 768, 60, Blanking::Cvt), "63.500 1024 1072 1176 1328 768 771 775 798 -hsync +vsync"),
            (
                (2560, 1440, 60, Blanking::Reduced),
                "241.500 2560 2608 2640 2720 1440 1443 1448 1481 +hsync -vsync",
            ),
        ] {
            let made = Modeline::cvt(width, height, hertz * 1000, blanking).map(|made| made.to_string());
            assert_eq!(made.as_deref(), Ok(line));
        }
    }

    #[test]
    fn modelines_are_read_as_others_write_them() {
        let line = "Modeline \"1366x768_60.00\"   85.25  1366 1440 1576 1784  768 771 781 798 -HSync +Vsync";
        let read = line.parse::<Modeline>().expect("a modeline");
        assert_eq!((read.clock, read.horizontal[0], read.vertical[3], read.vsync), (85_250, 1366, 798, true));
        assert_eq!(read.refresh(), 59_882);
        for wrong in [
            "",
            "173",
            "0 1 2 3 4 5 6 7 8",
            "173 1920 1900 2248 2576 1080 1083 1088 1120",
            "60 1 1 1 1 1 1 1 1 sideways",
        ] {
            assert!(wrong.parse::<Modeline>().is_err(), "{wrong}");
        }
        assert!(
            Modeline::cvt(1366, 768, 60_000, Blanking::Cvt).is_err_and(|why| why.contains("1360 or 1368"))
        );
    }

    proptest! {
        /// Any size and refresh gives a sound timing of about that refresh, or words; what is written is read.
        #[test]
        fn any_size(width in 1u16.., height in 1u16.., refresh in 1000u32..1_000_000, which in 0usize..3) {
            let blanking = Blanking::NAMES[which].1;
            if let Ok(line) = Modeline::cvt(width, height, refresh, blanking) {
                prop_assert_eq!((line.horizontal[0], line.vertical[0]), (width, height));
                prop_assert_eq!(line.to_string().parse::<Modeline>(), Ok(line));
            }
        }

        #[test]
        fn any_text(text in "\\PC*") {
            let _ = text.parse::<Modeline>();
        }
    }
}
