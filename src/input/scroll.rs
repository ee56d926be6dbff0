//! Scrolling as clients get it.

use smithay::backend::input::{Axis, AxisRelativeDirection, AxisSource, InputBackend, PointerAxisEvent};
use smithay::input::pointer::AxisFrame;

/// What a scroll event says of one axis.
#[derive(Debug, Clone, Copy)]
struct Scroll {
    amount: Option<f64>,
    /// In 120ths of a wheel's click.
    steps: Option<f64>,
    direction: AxisRelativeDirection,
}

impl Scroll {
    fn times(self, factor: f64) -> Self {
        let times = |value: f64| value * factor;
        Self { amount: self.amount.map(times), steps: self.steps.map(times), ..self }
    }
}

/// Returns the event for clients, whose amounts are multiplied by a factor.
pub fn axis_frame<B: InputBackend>(event: &impl PointerAxisEvent<B>, factor: f64) -> AxisFrame {
    let frame = AxisFrame::new(event.time_msec()).source(event.source());
    [Axis::Horizontal, Axis::Vertical].into_iter().fold(frame, |frame, axis| {
        let (amount, steps) = (event.amount(axis), event.amount_v120(axis));
        let scroll = Scroll { amount, steps, direction: event.relative_direction(axis) }.times(factor);
        add(frame, axis, event.source(), scroll)
    })
}

fn add(frame: AxisFrame, axis: Axis, source: AxisSource, scroll: Scroll) -> AxisFrame {
    // A wheel's click is 120 steps, and 15 degrees in libinput's terms; clients expect 15 as well.
    let amount = scroll.amount.unwrap_or_else(|| scroll.steps.unwrap_or(0.0) * 15.0 / 120.0);
    if amount != 0.0 {
        let frame = frame.relative_direction(axis, scroll.direction).value(axis, amount);
        return match scroll.steps {
            // Smaller than the protocol's unit: the amount alone.
            Some(steps) if steps.round() != 0.0 => frame.v120(axis, steps.round() as i32),
            _ => frame,
        };
    }
    // Fingers that are lifted end a kinetic scroll.
    match source == AxisSource::Finger && scroll.amount == Some(0.0) {
        true => frame.stop(axis),
        false => frame,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertical(source: AxisSource, amount: Option<f64>, steps: Option<f64>) -> AxisFrame {
        let scroll = Scroll { amount, steps, direction: AxisRelativeDirection::Identical };
        add(AxisFrame::new(0).source(source), Axis::Vertical, source, scroll)
    }

    #[test]
    fn click_of_a_wheel_is_fifteen() {
        let frame = vertical(AxisSource::Wheel, None, Some(-120.0));
        assert_eq!((frame.axis, frame.v120), ((0.0, -15.0), Some((0, -120))));
        let own = vertical(AxisSource::Wheel, Some(10.0), Some(120.0));
        assert_eq!(own.axis, (0.0, 10.0), "libinput's own angle");
    }

    #[test]
    fn factor_multiplies_amounts_and_steps() {
        let scroll =
            Scroll { amount: Some(15.0), steps: Some(-120.0), direction: AxisRelativeDirection::Identical };
        let scaled = |factor| {
            let frame = AxisFrame::new(0).source(AxisSource::Wheel);
            let frame = add(frame, Axis::Vertical, AxisSource::Wheel, scroll.times(factor));
            (frame.axis.1, frame.v120.map(|steps| steps.1))
        };
        assert_eq!(scaled(1.0), (15.0, Some(-120)));
        assert_eq!(scaled(2.5), (37.5, Some(-300)));
        assert_eq!(scaled(0.1), (1.5, Some(-12)));
        let fine = Scroll { amount: Some(1.0), steps: Some(2.0), ..scroll };
        let frame = add(AxisFrame::new(0), Axis::Vertical, AxisSource::Wheel, fine.times(0.1));
        assert_eq!((frame.axis.1, frame.v120), (0.1, None), "less than a step");
        // A factor does not hide the end of a kinetic scroll.
        let end = Scroll { amount: Some(0.0), steps: None, ..scroll };
        let frame = add(AxisFrame::new(0), Axis::Vertical, AxisSource::Finger, end.times(0.1));
        assert!(frame.stop.1);
    }

    #[test]
    fn only_lifted_fingers_stop() {
        assert_eq!(vertical(AxisSource::Finger, Some(0.0), None).stop, (false, true));
        assert_eq!(vertical(AxisSource::Finger, None, None).stop, (false, false));
        assert_eq!(vertical(AxisSource::Continuous, Some(0.0), None).stop, (false, false));
    }
}
