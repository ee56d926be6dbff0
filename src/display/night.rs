//! The night light: a warmer white by the time of day. Pure.

use std::str::FromStr;
use std::time::Duration;

/// Minutes of a day.
const DAY: f64 = 1440.0;

/// While it comes or goes it changes this often: by some 10 K in an hour's fade.
const STEP: Duration = Duration::from_secs(20);

/// Clocks are set, and summer time comes: looked at again after so long at most.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// A time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay(pub u16);

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str, end: u16| text.parse::<u16>().ok().filter(|number| *number < end);
        let time = text.split_once(':').and_then(|(hours, minutes)| {
            (minutes.len() == 2).then_some(number(hours, 24)? * 60 + number(minutes, 60)?)
        });
        time.map(Self).ok_or_else(|| format!("{text:?} is no time; write \"21:30\""))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NightLight {
    /// When it begins to come, and when it is gone.
    pub from: TimeOfDay,
    pub to: TimeOfDay,
    /// White at night, in kelvin.
    pub white: u16,
    /// Minutes that it takes to come, and to go.
    pub fade: u16,
}

impl NightLight {
    /// Minutes since it began, and how many it lasts; none outside of it.
    fn since(&self, now: f64) -> Option<(f64, f64)> {
        let lasts = (f64::from(self.to.0) - f64::from(self.from.0)).rem_euclid(DAY);
        let since = (now - f64::from(self.from.0)).rem_euclid(DAY);
        (since < lasts).then_some((since, lasts))
    }

    fn fade(&self, lasts: f64) -> f64 {
        f64::from(self.fade).min(lasts / 2.0)
    }

    /// A display's white at a minute of the day, in kelvin, where it has `day` otherwise.
    pub fn white(&self, now: f64, day: u16) -> u16 {
        let Some((since, lasts)) = self.since(now) else { return day };
        let fade = self.fade(lasts);
        let part = if fade > 0.0 { (since.min(lasts - since) / fade).min(1.0) } else { 1.0 };
        // Even steps of the reciprocal look even (mired).
        let (day, night) = (1.0 / f64::from(day), 1.0 / f64::from(self.white));
        (1.0 / (day + (night - day) * part)).round() as u16
    }

    /// How long until the white may be another.
    pub fn next(&self, now: f64) -> Duration {
        let minutes = match self.since(now) {
            None => (f64::from(self.from.0) - now).rem_euclid(DAY),
            Some((since, lasts)) => {
                let fade = self.fade(lasts);
                match lasts - fade - since {
                    still if since >= fade && still > 0.0 => still,
                    _ => return STEP,
                }
            }
        };
        Duration::from_secs_f64(minutes * 60.0).clamp(Duration::from_secs(1), LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn light(from: &str, to: &str, fade: u16) -> NightLight {
        let time = |text: &str| text.parse().expect("a time");
        NightLight { from: time(from), to: time(to), white: 3000, fade }
    }

    #[test]
    fn over_midnight() {
        let light = light("21:00", "06:00", 60);
        let at = |hours: f64| light.white(hours * 60.0, 6500);
        assert_eq!(
            [12.0, 20.9, 21.0, 22.0, 2.0, 5.0, 6.0].map(at),
            [6500, 6500, 6500, 3000, 3000, 3000, 6500]
        );
        assert_eq!(at(21.5), 4105);
        assert_eq!(light.next(12.0 * 60.0), LONGEST);
        assert_eq!(light.next(20.0 * 60.0 + 55.0), Duration::from_secs(300));
        assert_eq!(light.next(21.5 * 60.0), STEP);
    }

    #[test]
    fn at_once_and_never() {
        assert_eq!(light("10:00", "11:00", 0).white(600.0, 6500), 3000);
        assert_eq!(light("10:00", "10:00", 0).white(600.0, 6500), 6500);
        for wrong in ["", "9", "24:00", "9:5", "9:60", "-1:00", "a:00"] {
            assert!(wrong.parse::<TimeOfDay>().is_err(), "{wrong}");
        }
    }

    proptest! {
        /// White is between day's and night's, and does not change before its time.
        #[test]
        fn bounds(from in 0u16..1440, to in 0u16..1440, fade in 0u16..600, now in 0.0f64..1440.0) {
            let light = NightLight { from: TimeOfDay(from), to: TimeOfDay(to), white: 3000, fade };
            let white = light.white(now, 6500);
            prop_assert!((3000..=6500).contains(&white));
            let wait = light.next(now);
            prop_assert!(wait <= LONGEST && wait >= Duration::from_secs(1));
            if wait > STEP {
                let before = now + (wait.as_secs_f64() - 1.0) / 60.0;
                prop_assert_eq!(light.white(before.rem_euclid(DAY), 6500), white);
            }
        }
    }
}
