//! Calibration of a touchscreen: from where the user touches targets to the matrix that puts
//! touches there. Pure.
//!
//! ```text
//!                 touched, more targets left
//!                        ┌───────┐
//!   start    ┌───────────┴┐      │     all touched, and     ┌───────┐  where expected
//!   ───────> │ collecting │ <────┘ ───────────────────────> │ check │ ───────────────> matrix
//!            └────────────┘         a matrix fits them      └───────┘
//!               ^  │  ^                                       │  ^ │
//!               └──┘  └───────────────────────────────────────┘  └─┘
//!      one does not fit: it again        twice elsewhere    once elsewhere: it again
//!      no matrix fits: all again
//! ```
//!
//! After [`MAX_ROUNDS`] rounds without a result it fails.
//!
//! Points are fractions of the display's width and height, from 0 to 1, as libinput has them: the
//! matrix of `libinput_device_config_calibration_set_matrix` is multiplied with (x, y, 1).

use smithay::utils::{Logical, Point, Size, Transform};

/// A point in fractions of the width and the height.
pub type Fractions = (f64, f64);

/// The first two rows of the matrix: `x' = a x + b y + c`, `y' = d x + e y + f`.
pub type Matrix = [f64; 6];

/// The matrix of a device that is not calibrated.
pub const IDENTITY: Matrix = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

/// The places of the targets on the display as the user sees it. The last one is not in the middle:
/// of four corners and a middle, a wrong corner and the opposite one look the same.
const TARGETS: [Fractions; 5] = [(0.1, 0.1), (0.9, 0.1), (0.9, 0.9), (0.1, 0.9), (0.4, 0.3)];
/// The place of the last touch, which checks the matrix.
const CHECK: Fractions = (0.65, 0.7);

/// The number of touches if none is repeated: the targets and the check.
pub const TOUCHES: usize = TARGETS.len() + 1;

/// How far from its target a touch may be, in fractions, with the matrix that was found. On a
/// screen of 10 inches that is 5 mm: a finger hits a cross within 3 mm.
const TOLERANCE: f64 = 0.025;
/// How far a finger may move until it is lifted.
const STILL: f64 = 0.03;
/// How often all targets, or one of them, are asked for again.
const MAX_ROUNDS: u32 = 6;
/// The greatest number of a matrix. A touchscreen that uses a hundredth of its range is broken.
const MAX_NUMBER: f64 = 100.0;

/// Why a target is shown again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The finger moved before it was lifted.
    Moved,
    /// This touch does not fit the others.
    Outlier,
    /// No matrix puts the touches where the targets are.
    NoFit,
    /// With the matrix, the check is not where its target is.
    Missed,
}

/// What follows from a touch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Show the present target.
    Next(Option<Again>),
    Finished(Matrix),
    /// There is no result after several rounds.
    Failed,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Collecting([Option<Fractions>; TARGETS.len()]),
    Check { matrix: Matrix, missed: bool },
}

/// See the [module](self).
#[derive(Debug)]
pub struct Calibration {
    state: State,
    /// Of the display that the device is on.
    transform: Transform,
    rounds: u32,
}

impl Calibration {
    /// Begins with the first target. The device turns with its display.
    pub fn new(transform: Transform) -> Self {
        Self { state: State::Collecting(Default::default()), transform, rounds: 0 }
    }

    /// Returns the place of the present target on the display as the user sees it.
    pub fn target(&self) -> Fractions {
        match &self.state {
            State::Collecting(touched) => {
                let next = touched.iter().position(Option::is_none);
                next.and_then(|next| TARGETS.get(next)).copied().unwrap_or(CHECK)
            }
            State::Check { .. } => CHECK,
        }
    }

    /// Returns the number of the present target, from 1 to [`TOUCHES`].
    pub fn number(&self) -> usize {
        match &self.state {
            State::Collecting(touched) => {
                1 + touched.iter().position(Option::is_none).unwrap_or(TARGETS.len())
            }
            State::Check { .. } => TOUCHES,
        }
    }

    /// A finger touched the screen at `down` and was lifted at `up`, both not calibrated.
    pub fn touched(&mut self, down: Fractions, up: Fractions) -> Outcome {
        let is_number = |(x, y): Fractions| x.is_finite() && y.is_finite();
        if !is_number(down) || !is_number(up) || distance(down, up) > STILL {
            return Outcome::Next(Some(Again::Moved));
        }
        match &mut self.state {
            State::Collecting(touched) => {
                if let Some(next) = touched.iter_mut().find(|touched| touched.is_none()) {
                    *next = Some(up);
                }
                let all: Vec<Fractions> = touched.iter().flatten().copied().collect();
                if all.len() < TARGETS.len() {
                    return Outcome::Next(None);
                }
                self.solve(&all)
            }
            State::Check { matrix, missed } => {
                let (matrix, was_missed) = (*matrix, *missed);
                if distance(apply(&matrix, up), on_panel(CHECK, self.transform)) <= TOLERANCE {
                    return Outcome::Finished(matrix);
                }
                match was_missed {
                    true => self.again(State::Collecting(Default::default()), Again::NoFit),
                    false => self.again(State::Check { matrix, missed: true }, Again::Missed),
                }
            }
        }
    }

    fn solve(&mut self, touched: &[Fractions]) -> Outcome {
        let targets = TARGETS.map(|target| on_panel(target, self.transform));
        let samples: Vec<Sample> = touched
            .iter()
            .zip(targets)
            .map(|(touched, target)| Sample { touched: *touched, target })
            .collect();
        if let Some(matrix) = fitting(&samples) {
            self.state = State::Check { matrix, missed: false };
            return Outcome::Next(None);
        }
        match outlier(&samples) {
            Some(outlier) => {
                let mut kept: [Option<Fractions>; TARGETS.len()] = Default::default();
                let others = kept.iter_mut().zip(touched).enumerate().filter(|(index, _)| *index != outlier);
                others.for_each(|(_, (kept, touched))| *kept = Some(*touched));
                self.again(State::Collecting(kept), Again::Outlier)
            }
            None => self.again(State::Collecting(Default::default()), Again::NoFit),
        }
    }

    fn again(&mut self, state: State, why: Again) -> Outcome {
        self.rounds += 1;
        if self.rounds >= MAX_ROUNDS {
            return Outcome::Failed;
        }
        self.state = state;
        Outcome::Next(Some(why))
    }
}

/// Returns where a point of the display as the user sees it is on the panel, which is not turned.
fn on_panel((x, y): Fractions, transform: Transform) -> Fractions {
    let size: Size<f64, Logical> = (1.0, 1.0).into();
    let point: Point<f64, Logical> = transform.invert().transform_point_in(Point::from((x, y)), &size);
    (point.x, point.y)
}

fn distance(a: Fractions, b: Fractions) -> f64 {
    (a.0 - b.0).abs().max((a.1 - b.1).abs())
}

/// Returns where a matrix puts a point.
pub fn apply(matrix: &Matrix, (x, y): Fractions) -> Fractions {
    let [a, b, c, d, e, f] = matrix;
    (a * x + b * y + c, d * x + e * y + f)
}

/// A touch, and where it should be.
#[derive(Debug, Clone, Copy)]
struct Sample {
    touched: Fractions,
    target: Fractions,
}

/// Returns the matrix of the least squares of the distances between touches and targets. `None` if
/// the touches are on one line.
fn least_squares(samples: &[Sample]) -> Option<Matrix> {
    // The normal equations: both rows have the same symmetric matrix.
    let mut normal = [[0.0; 3]; 3];
    let (mut right_x, mut right_y) = ([0.0; 3], [0.0; 3]);
    for Sample { touched, target } in samples {
        let point = [touched.0, touched.1, 1.0];
        for (row, value) in point.iter().enumerate() {
            for (column, other) in point.iter().enumerate() {
                normal[row][column] += value * other;
            }
            right_x[row] += value * target.0;
            right_y[row] += value * target.1;
        }
    }
    let [[a, b, c], [_, d, e], [_, _, f]] = normal;
    // The adjugate of a symmetric matrix is symmetric.
    let adjugate = [
        [d * f - e * e, c * e - b * f, b * e - c * d],
        [c * e - b * f, a * f - c * c, b * c - a * e],
        [b * e - c * d, b * c - a * e, a * d - b * b],
    ];
    let determinant = a * adjugate[0][0] + b * adjugate[0][1] + c * adjugate[0][2];
    // That of the targets themselves is about 1; the range of a touchscreen may be a tenth of it.
    if determinant.abs() < 1e-6 {
        return None;
    }
    let solve = |right: [f64; 3]| {
        adjugate.map(|row| (row[0] * right[0] + row[1] * right[1] + row[2] * right[2]) / determinant)
    };
    let ([a, b, c], [d, e, f]) = (solve(right_x), solve(right_y));
    let matrix = [a, b, c, d, e, f];
    matrix.iter().all(|number| number.is_finite() && number.abs() <= MAX_NUMBER).then_some(matrix)
}

/// Returns the matrix that puts all touches where their targets are, if there is one.
fn fitting(samples: &[Sample]) -> Option<Matrix> {
    let matrix = least_squares(samples)?;
    samples.iter().all(|sample| miss(&matrix, sample) <= TOLERANCE).then_some(matrix)
}

fn miss(matrix: &Matrix, sample: &Sample) -> f64 {
    distance(apply(matrix, sample.touched), sample.target)
}

/// Returns the touch without which the others fit best, if they do.
fn outlier(samples: &[Sample]) -> Option<usize> {
    let without = |index: usize| {
        let others: Vec<Sample> = samples
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, sample)| *sample)
            .collect();
        let matrix = fitting(&others)?;
        Some(others.iter().map(|sample| miss(&matrix, sample)).fold(0.0, f64::max))
    };
    let misses = (0..samples.len()).filter_map(|index| Some((index, without(index)?)));
    misses.min_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Touches all targets on a device whose raw points are `raw` of the places on the panel.
    fn calibrate(transform: Transform, raw: impl Fn(Fractions) -> Fractions) -> (Outcome, Vec<Again>) {
        let mut calibration = Calibration::new(transform);
        let mut again = Vec::new();
        for _ in 0..100 {
            let point = raw(on_panel(calibration.target(), transform));
            match calibration.touched(point, point) {
                Outcome::Next(why) => again.extend(why),
                outcome => return (outcome, again),
            }
        }
        panic!("no end");
    }

    fn matrix(outcome: Outcome) -> Matrix {
        match outcome {
            Outcome::Finished(matrix) => matrix,
            outcome => panic!("{outcome:?}"),
        }
    }

    fn near(one: &Matrix, other: &Matrix) -> bool {
        one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-6)
    }

    #[test]
    fn turned_mirrored_and_swapped_axes_are_found() {
        type Raw = fn(Fractions) -> Fractions;
        let cases: [(&str, Raw, Matrix); 5] = [
            ("right already", |point| point, IDENTITY),
            ("swapped", |(x, y)| (y, x), [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]),
            ("mirrored", |(x, y)| (1.0 - x, y), [-1.0, 0.0, 1.0, 0.0, 1.0, 0.0]),
            ("turned by 180", |(x, y)| (1.0 - x, 1.0 - y), [-1.0, 0.0, 1.0, 0.0, -1.0, 1.0]),
            (
                "a part of the range",
                |(x, y)| (0.25 + x / 2.0, 0.1 + y / 2.0),
                [2.0, 0.0, -0.5, 0.0, 2.0, -0.2],
            ),
        ];
        for (what, raw, expected) in cases {
            for transform in [Transform::Normal, Transform::_90, Transform::_180, Transform::Flipped270] {
                let (outcome, again) = calibrate(transform, raw);
                assert!(near(&matrix(outcome), &expected) && again.is_empty(), "{what}: {outcome:?}");
            }
        }
    }

    #[test]
    fn targets_of_a_turned_display_are_where_the_user_sees_them() {
        // A panel that is turned by 90: the top left corner as seen is at another one of the panel.
        let corner = on_panel((0.1, 0.1), Transform::_90);
        assert!(distance(corner, (0.1, 0.9)) < 1e-9 || distance(corner, (0.9, 0.1)) < 1e-9, "{corner:?}");
        assert_eq!(on_panel((0.25, 0.5), Transform::Normal), (0.25, 0.5));
    }

    #[test]
    fn touch_off_its_target_is_asked_for_again() {
        for wrong in 0..TARGETS.len() {
            let mut calibration = Calibration::new(Transform::Normal);
            let mut again = Vec::new();
            let mut is_wrong = true;
            let outcome = loop {
                let (x, y) = calibration.target();
                let is_now = std::mem::take(&mut is_wrong) && calibration.number() == wrong + 1;
                is_wrong |= calibration.number() <= wrong && again.is_empty();
                let point = if is_now { (x + 0.2, y - 0.15) } else { (x, y) };
                match calibration.touched(point, point) {
                    Outcome::Next(why) => again.extend(why.map(|why| (why, calibration.number()))),
                    outcome => break outcome,
                }
            };
            assert!(near(&matrix(outcome), &IDENTITY), "{outcome:?}");
            assert_eq!(again, [(Again::Outlier, wrong + 1)]);
        }
    }

    #[test]
    fn finger_that_moves_does_not_count() {
        let mut calibration = Calibration::new(Transform::Normal);
        assert_eq!(calibration.touched((0.1, 0.1), (0.2, 0.1)), Outcome::Next(Some(Again::Moved)));
        assert_eq!(calibration.touched((0.1, f64::NAN), (0.1, 0.1)), Outcome::Next(Some(Again::Moved)));
        assert_eq!((calibration.number(), calibration.target()), (1, (0.1, 0.1)));
        assert_eq!(calibration.touched((0.1, 0.1), (0.11, 0.1)), Outcome::Next(None));
        assert_eq!(calibration.number(), 2);
    }

    #[test]
    fn touches_on_one_place_or_line_fail() {
        for raw in [|_| (0.5, 0.5), |(x, _)| (x, 0.5)] as [fn(Fractions) -> Fractions; 2] {
            let (outcome, again) = calibrate(Transform::Normal, raw);
            assert_eq!(outcome, Outcome::Failed);
            assert!(again.iter().all(|why| *why == Again::NoFit), "{again:?}");
        }
    }

    #[test]
    fn check_that_misses_begins_again() {
        let mut calibration = Calibration::new(Transform::Normal);
        while calibration.number() < TOUCHES {
            let target = calibration.target();
            calibration.touched(target, target);
        }
        assert_eq!(calibration.touched((0.5, 0.5), (0.5, 0.5)), Outcome::Next(Some(Again::Missed)));
        assert_eq!(calibration.number(), TOUCHES);
        assert_eq!(calibration.touched((0.5, 0.5), (0.5, 0.5)), Outcome::Next(Some(Again::NoFit)));
        assert_eq!(calibration.number(), 1);
    }

    proptest! {
        /// With any device that is not broken and an unsteady finger, the matrix puts touches where
        /// they belong.
        #[test]
        fn matrix_puts_touches_where_they_belong(
            scale in (0.4f64..1.2, 0.4f64..1.2),
            offset in (-0.1f64..0.2, -0.1f64..0.2),
            shear in (-0.1f64..0.1, -0.1f64..0.1),
            (swapped, mirrored) in (any::<bool>(), any::<bool>()),
            noise in prop::collection::vec((-0.004f64..0.004, -0.004f64..0.004), 32),
            turns in 0usize..4,
        ) {
            let transform = [Transform::Normal, Transform::_90, Transform::_180, Transform::_270][turns];
            let exact = |(x, y): Fractions| {
                let (x, y) = if swapped { (y, x) } else { (x, y) };
                let x = if mirrored { 1.0 - x } else { x };
                (scale.0 * x + shear.0 * y + offset.0, scale.1 * y + shear.1 * x + offset.1)
            };
            let count = std::cell::Cell::new(0);
            let raw = |point| {
                let (x, y) = exact(point);
                let (dx, dy) = noise[count.replace((count.get() + 1) % noise.len())];
                (x + dx, y + dy)
            };
            let (outcome, _) = calibrate(transform, raw);
            let matrix = matrix(outcome);
            for place in [(0.0, 0.0), (1.0, 0.0), (0.5, 0.5), (0.2, 0.9), (1.0, 1.0)] {
                let there = apply(&matrix, exact(place));
                prop_assert!(distance(there, place) < 0.04, "{place:?} at {there:?}");
            }
        }

        /// Whatever is touched, it ends, and no matrix has numbers that are none.
        #[test]
        fn calibration_ends_with_any_touches(
            touches in prop::collection::vec((-2.0f64..2.0, -2.0f64..2.0), 100),
        ) {
            let mut calibration = Calibration::new(Transform::Normal);
            let mut outcome = Outcome::Next(None);
            for point in touches {
                outcome = calibration.touched(point, point);
                if !matches!(outcome, Outcome::Next(_)) {
                    break;
                }
                prop_assert!((1..=TOUCHES).contains(&calibration.number()));
            }
            match outcome {
                Outcome::Next(_) => prop_assert!(false, "no end"),
                Outcome::Finished(matrix) => prop_assert!(matrix.iter().all(|number| number.is_finite())),
                Outcome::Failed => {}
            }
        }
    }
}
