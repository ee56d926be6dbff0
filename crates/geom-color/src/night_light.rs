//! The night light: a warmer white point by time of day.

use std::str::FromStr;
use std::time::Duration;

/// Minutes of a day.
const MINUTES_PER_DAY: f64 = 1440.0;

/// Interval of changes during a fade: some 10 K each in a fade of an hour.
const FADE_STEP: Duration = Duration::from_secs(20);

/// Maximum time until the next evaluation, since the clock may be set and daylight saving time may
/// begin or end.
const MAX_WAIT: Duration = Duration::from_secs(15 * 60);

/// A time of day, in minutes since midnight: 0 to 1439.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay(pub u16);

impl FromStr for TimeOfDay {
    type Err = String;

    /// Parses `HH:MM`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str, end: u16| text.parse::<u16>().ok().filter(|number| *number < end);
        let time = text.split_once(':').and_then(|(hours, minutes)| {
            (minutes.len() == 2).then_some(number(hours, 24)? * 60 + number(minutes, 60)?)
        });
        time.map(Self).ok_or_else(|| format!("{text:?} is not a time; write \"21:30\""))
    }
}

/// The configuration of the night light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NightLight {
    /// When the fade to night begins.
    pub from: TimeOfDay,
    /// When the fade to day has ended.
    pub to: TimeOfDay,
    /// White point at night, in kelvin.
    pub white_point: u16,
    /// Duration of each fade in minutes.
    pub fade: u16,
}

impl NightLight {
    /// Returns the minutes since the night began, and the minutes that it lasts; `None` at day.
    fn elapsed(&self, now: f64) -> Option<(f64, f64)> {
        let duration = (f64::from(self.to.0) - f64::from(self.from.0)).rem_euclid(MINUTES_PER_DAY);
        let elapsed = (now - f64::from(self.from.0)).rem_euclid(MINUTES_PER_DAY);
        (elapsed < duration).then_some((elapsed, duration))
    }

    fn fade(&self, duration: f64) -> f64 {
        f64::from(self.fade).min(duration / 2.0)
    }

    /// Returns the white point at a minute of the day, in kelvin; `day` is the white point at day.
    pub fn white_point_at(&self, now: f64, day: u16) -> u16 {
        let Some((elapsed, duration)) = self.elapsed(now) else { return day };
        let fade = self.fade(duration);
        let fraction = if fade > 0.0 { (elapsed.min(duration - elapsed) / fade).min(1.0) } else { 1.0 };
        // Even steps of the reciprocal (mired) are perceived as even.
        let (day, night) = (1.0 / f64::from(day), 1.0 / f64::from(self.white_point));
        (1.0 / (day + (night - day) * fraction)).round() as u16
    }

    /// Returns the time until the white point may change next; at most 15 minutes.
    pub fn next_change(&self, now: f64) -> Duration {
        let minutes = match self.elapsed(now) {
            None => (f64::from(self.from.0) - now).rem_euclid(MINUTES_PER_DAY),
            Some((elapsed, duration)) => {
                let fade = self.fade(duration);
                match duration - fade - elapsed {
                    constant if elapsed >= fade && constant > 0.0 => constant,
                    _ => return FADE_STEP,
                }
            }
        };
        Duration::from_secs_f64(minutes * 60.0).clamp(Duration::from_secs(1), MAX_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn light(from: &str, to: &str, fade: u16) -> NightLight {
        let time = |text: &str| text.parse().expect("a time");
        NightLight { from: time(from), to: time(to), white_point: 3000, fade }
    }

    #[test]
    fn night_spans_midnight() {
        let light = light("21:00", "06:00", 60);
        let at = |hours: f64| light.white_point_at(hours * 60.0, 6500);
        assert_eq!(
            [12.0, 20.9, 21.0, 22.0, 2.0, 5.0, 6.0].map(at),
            [6500, 6500, 6500, 3000, 3000, 3000, 6500]
        );
        assert_eq!(at(21.5), 4105);
        assert_eq!(light.next_change(12.0 * 60.0), MAX_WAIT);
        assert_eq!(light.next_change(20.0 * 60.0 + 55.0), Duration::from_secs(300));
        assert_eq!(light.next_change(21.5 * 60.0), FADE_STEP);
    }

    #[test]
    fn zero_fade_switches_at_once_and_empty_night_never_begins() {
        assert_eq!(light("10:00", "11:00", 0).white_point_at(600.0, 6500), 3000);
        assert_eq!(light("10:00", "10:00", 0).white_point_at(600.0, 6500), 6500);
        for invalid in ["", "9", "24:00", "9:5", "9:60", "-1:00", "a:00"] {
            assert!(invalid.parse::<TimeOfDay>().is_err(), "{invalid}");
        }
    }

    proptest! {
        /// The white point is between those of day and night, and does not change before
        /// `next_change`.
        #[test]
        fn white_point_is_in_range_and_constant_until_next_change(
            from in 0u16..1440, to in 0u16..1440, fade in 0u16..600, now in 0.0f64..1440.0,
        ) {
            let light = NightLight { from: TimeOfDay(from), to: TimeOfDay(to), white_point: 3000, fade };
            let white_point = light.white_point_at(now, 6500);
            prop_assert!((3000..=6500).contains(&white_point));
            let wait = light.next_change(now);
            prop_assert!(wait <= MAX_WAIT && wait >= Duration::from_secs(1));
            if wait > FADE_STEP {
                let before = now + (wait.as_secs_f64() - 1.0) / 60.0;
                prop_assert_eq!(light.white_point_at(before.rem_euclid(MINUTES_PER_DAY), 6500), white_point);
            }
        }
    }
}
