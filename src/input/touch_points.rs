//! The fingers on all touch devices. Pure.
//!
//! Each device counts its own slots from 0, and clients know touch points by one number over all
//! devices of the seat. A cancel, which `wl_touch` has for a whole client only, ends the touch
//! points of that client and of no other: other people touch other displays.

use smithay::backend::input::TouchSlot;

use crate::clients::ClientId;

/// How many fingers there are at most on a device, and on all. More than people have: devices may
/// lie, and one that reports fingers without end must not take those of the others.
const MAX_OF_DEVICE: usize = 20;
const MAX: usize = 200;

/// A finger on a touch device.
#[derive(Debug, Clone, PartialEq)]
struct TouchPoint<S> {
    /// The device's name in /dev/input.
    device: String,
    /// The device's number of the finger.
    device_slot: TouchSlot,
    /// The number of the finger for clients.
    slot: TouchSlot,
    /// The surface that it touched first, which receives all its events, and its client.
    target: Option<(S, ClientId)>,
}

/// See the [module](self). `S` is a surface.
#[derive(Debug)]
pub struct TouchPoints<S> {
    points: Vec<TouchPoint<S>>,
    /// The surfaces of each client whose touch points are to be cancelled. Some may be gone.
    cancelled: Vec<(Vec<S>, ClientId)>,
}

impl<S> Default for TouchPoints<S> {
    fn default() -> Self {
        Self { points: Vec::new(), cancelled: Vec::new() }
    }
}

impl<S: Clone> TouchPoints<S> {
    /// Adds a finger. Returns its number, the lowest that is free; `None` if the device has that
    /// finger already, or there are too many.
    pub fn down(&mut self, device: &str, device_slot: TouchSlot) -> Option<TouchSlot> {
        let is_down = self.position(device, device_slot).is_some();
        let of_device = self.points.iter().filter(|point| point.device == device).count();
        if is_down || of_device >= MAX_OF_DEVICE || self.points.len() >= MAX {
            return None;
        }
        let number = (0..).find(|number| {
            let slot = TouchSlot::from(Some(*number));
            self.points.iter().all(|point| point.slot != slot)
        })?;
        let slot = TouchSlot::from(Some(number));
        self.points.push(TouchPoint { device: device.to_owned(), device_slot, slot, target: None });
        Some(slot)
    }

    /// Sets the surface that receives a finger's events.
    pub fn set_target(&mut self, slot: TouchSlot, surface: S, client: ClientId) {
        if let Some(point) = self.points.iter_mut().find(|point| point.slot == slot) {
            point.target = Some((surface, client));
        }
    }

    /// Returns the surface that receives a finger's events.
    pub fn target(&self, slot: TouchSlot) -> Option<&S> {
        let point = self.points.iter().find(|point| point.slot == slot)?;
        point.target.as_ref().map(|(surface, _)| surface)
    }

    /// Returns the number of a finger of a device, while it is down.
    pub fn slot(&self, device: &str, device_slot: TouchSlot) -> Option<TouchSlot> {
        self.points.get(self.position(device, device_slot)?).map(|point| point.slot)
    }

    /// Returns how many fingers are down.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Returns the fingers of a device.
    pub fn of_device(&self, device: &str) -> Vec<TouchSlot> {
        let points = self.points.iter().filter(|point| point.device == device);
        points.map(|point| point.slot).collect()
    }

    /// Removes a finger that was lifted.
    pub fn up(&mut self, slot: TouchSlot) {
        self.points.retain(|point| point.slot != slot);
    }

    /// Cancels what a finger does, and all other fingers on surfaces of the same client. They stay
    /// down, without effect, until they are lifted.
    pub fn cancel(&mut self, slot: TouchSlot) {
        let point = self.points.iter().find(|point| point.slot == slot);
        let Some((_, client)) = point.and_then(|point| point.target.clone()) else { return };
        let of_client = |point: &mut TouchPoint<S>| point.target.take_if(|(_, owner)| *owner == client);
        let surfaces: Vec<S> =
            self.points.iter_mut().filter_map(of_client).map(|(surface, _)| surface).collect();
        match self.cancelled.iter_mut().find(|(_, owner)| *owner == client) {
            Some((known, _)) => known.extend(surfaces),
            None => self.cancelled.push((surfaces, client)),
        }
    }

    /// Returns, for each client whose touch points were cancelled since the last call, the surfaces
    /// that they were on.
    pub fn take_cancelled(&mut self) -> Vec<Vec<S>> {
        std::mem::take(&mut self.cancelled).into_iter().map(|(surfaces, _)| surfaces).collect()
    }

    /// Returns whether [`TouchPoints::take_cancelled`] would return any.
    pub fn has_cancelled(&self) -> bool {
        !self.cancelled.is_empty()
    }

    fn position(&self, device: &str, device_slot: TouchSlot) -> Option<usize> {
        let is_it = |point: &TouchPoint<S>| point.device == device && point.device_slot == device_slot;
        self.points.iter().position(is_it)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn slot(number: u32) -> TouchSlot {
        TouchSlot::from(Some(number))
    }

    #[test]
    fn fingers_of_two_devices_have_different_numbers() {
        let mut points = TouchPoints::<u32>::default();
        assert_eq!(points.down("event1", slot(0)), Some(slot(0)));
        assert_eq!(points.down("event2", slot(0)), Some(slot(1)));
        assert_eq!(points.down("event2", slot(0)), None, "it is down already");
        assert_eq!(points.slot("event2", slot(0)), Some(slot(1)));
        points.up(slot(0));
        assert_eq!(points.slot("event1", slot(0)), None);
        assert_eq!(points.down("event2", slot(7)), Some(slot(0)), "the lowest that is free");
        assert_eq!(points.of_device("event2"), [slot(1), slot(0)]);
    }

    #[test]
    fn cancel_ends_the_touch_points_of_one_client() {
        let mut points = TouchPoints::default();
        for (device, surface, client) in [("event1", 10, 1), ("event2", 20, 2), ("event3", 21, 2)] {
            let finger = points.down(device, slot(0)).unwrap();
            points.set_target(finger, surface, ClientId::from(client));
        }
        points.cancel(slot(1));
        points.cancel(slot(2));
        assert_eq!(points.take_cancelled(), [[20, 21]]);
        assert_eq!(points.take_cancelled(), Vec::<Vec<i32>>::new());
        assert_eq!(
            (points.target(slot(0)), points.target(slot(1)), points.target(slot(2))),
            (Some(&10), None, None)
        );
        assert_eq!(points.len(), 3, "they are still down");
    }

    proptest! {
        /// Whatever devices report: numbers are unique and bounded, and an event of one device
        /// changes nothing of another.
        #[test]
        fn numbers_are_unique(events in prop::collection::vec((0..3u32, 0..40u32, any::<bool>()), 0..400)) {
            let mut points = TouchPoints::<u32>::default();
            let mut expected = BTreeMap::new();
            for (device, finger, is_down) in events {
                let name = format!("event{device}");
                if is_down {
                    let known = expected.contains_key(&(device, finger));
                    let new = points.down(&name, slot(finger));
                    let of_device = expected.keys().filter(|(other, _)| *other == device).count();
                    prop_assert_eq!(new.is_some(), !known && of_device < MAX_OF_DEVICE);
                    if let Some(new) = new {
                        prop_assert!(expected.values().all(|known| *known != new));
                        expected.insert((device, finger), new);
                    }
                } else if let Some(known) = expected.remove(&(device, finger)) {
                    prop_assert_eq!(points.slot(&name, slot(finger)), Some(known));
                    points.up(known);
                }
                prop_assert_eq!(points.len(), expected.len());
                for ((device, finger), known) in &expected {
                    prop_assert_eq!(points.slot(&format!("event{device}"), slot(*finger)), Some(*known));
                }
            }
        }
    }
}
