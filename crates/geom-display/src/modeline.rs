//! Timings that are not in the monitor's list: modelines, and CVT.
//!
//! Source: VESA Coordinated Video Timings 1.2 (formulas of sections 3.4 to 3.6). A modeline is
//! written as in xorg.conf(5).

use std::fmt;
use std::str::FromStr;

use strum::{EnumString, VariantArray};

/// A full timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Modeline {
    /// Pixel clock in kHz.
    pub clock: u32,
    /// Pixels: active, start of the sync pulse, its end, total.
    pub horizontal: [u16; 4],
    /// Lines: active, start of the sync pulse, its end, total.
    pub vertical: [u16; 4],
    /// Whether the horizontal sync pulse is positive.
    pub hsync: bool,
    /// Whether the vertical sync pulse is positive.
    pub vsync: bool,
    /// Whether the mode is interlaced.
    pub interlaced: bool,
    /// Whether each line is sent twice.
    pub doublescan: bool,
}

/// The blanking that CVT computes, as the configuration names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, VariantArray)]
pub enum Blanking {
    /// Standard blanking, for CRTs.
    #[strum(serialize = "cvt")]
    Cvt,
    /// Reduced blanking, for flat panels.
    #[strum(serialize = "cvt-rb")]
    Reduced,
    /// Reduced blanking version 2: least blanking, any width.
    #[strum(serialize = "cvt-rb2")]
    Reduced2,
}

/// Lines of the vertical sync pulse by aspect ratio (CVT 1.2, table 3-2).
const VSYNC_LINES: [((u32, u32), u32); 5] =
    [((4, 3), 4), ((16, 9), 5), ((16, 10), 6), ((5, 4), 7), ((15, 9), 7)];
/// The same for other aspect ratios.
const VSYNC_LINES_OTHER: u32 = 10;

fn vsync_lines(width: u32, height: u32) -> u32 {
    let fits = |((x, y), _): &&((u32, u32), u32)| height * x / y / 8 * 8 == width;
    VSYNC_LINES.iter().find(fits).map_or(VSYNC_LINES_OTHER, |(_, lines)| *lines)
}

/// Minimum vertical front porch in lines.
const MIN_V_FRONT: u32 = 3;
/// Minimum vertical back porch in lines.
const MIN_V_BACK: u32 = 6;

impl Modeline {
    /// Computes the CVT timing for a size and a refresh rate in millihertz.
    ///
    /// # Errors
    ///
    /// Returns as text why the formula has no such timing, or no mode can hold it.
    pub fn cvt(width: u16, height: u16, refresh: u32, blanking: Blanking) -> Result<Self, String> {
        let (h_active, v_active) = (u32::from(width), u32::from(height));
        if blanking != Blanking::Reduced2 && h_active % 8 != 0 {
            return Err(format!(
                "CVT has widths in steps of 8: write {} or {}, or cvt-rb2, or a modeline",
                h_active / 8 * 8,
                h_active / 8 * 8 + 8
            ));
        }
        if refresh == 0 {
            return Err("CVT needs a refresh rate".into());
        }
        let hertz = f64::from(refresh) / 1000.0;
        let vsync = vsync_lines(h_active, v_active);
        // Microseconds of one line, if the vertical blanking takes this much of a frame.
        let line_time = |blank: f64, lines: u32| {
            let line = (1e6 / hertz - blank) / f64::from(lines);
            (line > 0.0).then_some(line).ok_or_else(|| format!("no time for {v_active} lines at {hertz} Hz"))
        };
        let (horizontal, vertical, clock) = match blanking {
            Blanking::Cvt => {
                let line = line_time(550.0, v_active + MIN_V_FRONT)?;
                let sync_and_back = ((550.0 / line) as u32 + 1).max(vsync + MIN_V_BACK);
                // At least a fifth of a line is blanking.
                let duty = (30.0 - 0.3 * line).max(20.0);
                let h_blank = (f64::from(h_active) * duty / (100.0 - duty) / 16.0) as u32 * 16;
                let total = h_active + h_blank;
                let h_sync = (0.08 * f64::from(total) / 8.0) as u32 * 8;
                let end = h_active + h_blank / 2;
                let clock = (f64::from(total) / line * 4.0).floor() * 250.0;
                let start = v_active + MIN_V_FRONT;
                (
                    [h_active, end - h_sync.min(h_blank / 2), end, total],
                    [v_active, start, start + vsync, start + sync_and_back],
                    clock,
                )
            }
            Blanking::Reduced => {
                let line = line_time(460.0, v_active)?;
                let v_blank = ((460.0 / line) as u32 + 1).max(MIN_V_FRONT + vsync + MIN_V_BACK);
                let total = (h_active + 160, v_active + v_blank);
                let clock = (hertz * f64::from(total.0) * f64::from(total.1) / 250_000.0).floor() * 250.0;
                let start = v_active + MIN_V_FRONT;
                (
                    [h_active, h_active + 48, h_active + 80, total.0],
                    [v_active, start, start + vsync, total.1],
                    clock,
                )
            }
            Blanking::Reduced2 => {
                let line = line_time(460.0, v_active)?;
                let v_blank = ((460.0 / line) as u32 + 1).max(1 + 8 + MIN_V_BACK);
                let total = (h_active + 80, v_active + v_blank);
                let clock = (hertz * f64::from(total.0) * f64::from(total.1) / 1000.0).floor();
                let end = total.1 - MIN_V_BACK;
                ([h_active, h_active + 8, h_active + 40, total.0], [v_active, end - 8, end, total.1], clock)
            }
        };
        let fit = |numbers: [u32; 4]| {
            let [Some(active), Some(start), Some(end), Some(total)] =
                numbers.map(|number| u16::try_from(number).ok())
            else {
                return Err(format!("{width}x{height} is more than a mode can hold"));
            };
            Ok([active, start, end, total])
        };
        let (hsync, vsync) =
            (blanking == Blanking::Reduced || blanking == Blanking::Reduced2, blanking == Blanking::Cvt);
        let (interlaced, doublescan) = (false, false);
        let (horizontal, vertical, clock) = (fit(horizontal)?, fit(vertical)?, clock as u32);
        Self { clock, horizontal, vertical, hsync, vsync, interlaced, doublescan }.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let rises = |[active, start, end, total]: [u16; 4]| {
            active > 0 && active <= start && start <= end && end <= total
        };
        if !rises(self.horizontal) || !rises(self.vertical) {
            return Err("the numbers of a modeline rise: active, sync start, sync end, total".into());
        }
        if !(1_000..=10_000_000).contains(&self.clock) {
            return Err(format!(
                "a pixel clock of {} MHz is out of range: 1 to 10000",
                f64::from(self.clock) / 1000.0
            ));
        }
        if !(1_000..=1_000_000).contains(&self.refresh()) {
            return Err(format!(
                "a refresh rate of {} Hz is out of range: 1 to 1000",
                f64::from(self.refresh()) / 1000.0
            ));
        }
        Ok(self)
    }

    /// Returns the refresh rate in millihertz, of fields if interlaced, as the kernel computes it
    /// (drm_mode_vrefresh()).
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
        let sign = |positive: bool| if positive { '+' } else { '-' };
        write!(formatter, " {}hsync {}vsync", sign(self.hsync), sign(self.vsync))?;
        let flags = [(self.interlaced, " interlace"), (self.doublescan, " doublescan")];
        flags.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| formatter.write_str(word))
    }
}

impl FromStr for Modeline {
    type Err = String;

    /// Parses the output of cvt(1) and gtf(1), with or without `Modeline "name"` at the beginning.
    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            let example = "173.0 1920 2048 2248 2576 1080 1083 1088 1120 -hsync +vsync";
            format!("{text:?} is not a modeline; write {example:?}")
        };
        let mut words = text.split_whitespace().peekable();
        if words.next_if(|word| word.eq_ignore_ascii_case("modeline")).is_some() {
            words.next_if(|word| word.starts_with('"'));
        }
        let megahertz: f64 = words.next().and_then(|word| word.parse().ok()).ok_or_else(invalid)?;
        if !(0.0..=10_000.0).contains(&megahertz) {
            return Err(invalid());
        }
        let mut four = || -> Option<[u16; 4]> {
            let mut numbers = [0; 4];
            for number in &mut numbers {
                *number = words.next()?.parse().ok()?;
            }
            Some(numbers)
        };
        let (horizontal, vertical) = (four().ok_or_else(invalid)?, four().ok_or_else(invalid)?);
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
                _ => return Err(format!("{word:?} is not a flag of a modeline")),
            }
        }
        line.checked()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The output of X.org's cvt(1). (If the sync pulse is a multiple of 8 already, X.org begins it
    /// 8 pixels later than the standard says.)
    #[test]
    fn cvt_timings_match_x_org() {
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
    fn modelines_of_other_tools_are_parsed() {
        let line = "Modeline \"1366x768_60.00\"   85.25  1366 1440 1576 1784  768 771 781 798 -HSync +Vsync";
        let read = line.parse::<Modeline>().expect("a modeline");
        assert_eq!((read.clock, read.horizontal[0], read.vertical[3], read.vsync), (85_250, 1366, 798, true));
        assert_eq!(read.refresh(), 59_882);
        for invalid in [
            "",
            "173",
            "0 1 2 3 4 5 6 7 8",
            "173 1920 1900 2248 2576 1080 1083 1088 1120",
            "60 1 1 1 1 1 1 1 1 sideways",
        ] {
            assert!(invalid.parse::<Modeline>().is_err(), "{invalid}");
        }
        assert!(
            Modeline::cvt(1366, 768, 60_000, Blanking::Cvt).is_err_and(|why| why.contains("1360 or 1368"))
        );
    }

    proptest! {
        /// Any size and refresh rate gives an error, or a timing of that size that round-trips as
        /// text.
        #[test]
        fn cvt_gives_an_error_or_a_timing_that_round_trips(
            width in 1u16.., height in 1u16.., refresh in 1000u32..1_000_000, which in 0usize..3,
        ) {
            let blanking = Blanking::VARIANTS[which];
            if let Ok(line) = Modeline::cvt(width, height, refresh, blanking) {
                prop_assert_eq!((line.horizontal[0], line.vertical[0]), (width, height));
                prop_assert_eq!(line.to_string().parse::<Modeline>(), Ok(line));
            }
        }

        #[test]
        fn any_text_parses_without_panic(text in "\\PC*") {
            let _ = text.parse::<Modeline>();
        }
    }
}
