//! How many objects each Wayland client has, against what one client may have.
//!
//! What a client can make the service keep is bounded by its connection: by the number of its
//! objects of any kind, and, for those that cost more, by their kind.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use strum::VariantArray;

use crate::config::ObjectLimits;

/// A kind of object that is counted for each client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Counted {
    Surface,
    Window,
    LayerSurface,
    Popup,
    Pool,
    Buffer,
    Inhibitor,
    IdleNotification,
    /// Each gets events for each change of the clipboard.
    DataDevice,
    /// Pointers, keyboards and touch objects. Each gets all events of its kind, and keyboards get
    /// keymaps, which are files.
    SeatDevice,
    /// Each has objects of all tablets, tools and pads.
    TabletSeat,
    /// Each gets all gestures.
    Gesture,
    /// Each has two descriptors until it is committed.
    Sandbox,
}

impl Counted {
    /// Returns the limit and its key in the configuration.
    fn limit(self, limits: &ObjectLimits) -> (u32, &'static str) {
        match self {
            Self::Surface => (limits.surfaces, "surfaces"),
            Self::Window => (limits.windows, "windows"),
            Self::LayerSurface => (limits.layer_surfaces, "layer_surfaces"),
            Self::Popup => (limits.popups, "popups"),
            Self::Pool => (limits.pools, "pools"),
            Self::Buffer => (limits.buffers, "buffers"),
            Self::Inhibitor => (limits.inhibitors, "inhibitors"),
            Self::IdleNotification => (limits.idle_notifications, "idle_notifications"),
            Self::DataDevice => (limits.data_devices, "data_devices"),
            Self::SeatDevice => (limits.seat_devices, "seat_devices"),
            Self::TabletSeat => (limits.tablet_seats, "tablet_seats"),
            Self::Gesture => (limits.gestures, "gestures"),
            Self::Sandbox => (limits.sandboxes, "sandboxes"),
        }
    }
}

/// A client would have more than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverLimit {
    pub limit: u32,
    /// The key in the section `[clients.objects]` of the configuration.
    pub key: &'static str,
}

impl fmt::Display for OverLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "more than {} {} ([clients.objects] {})", self.limit, self.key, self.key)
    }
}

/// What the types of a source of data may take, in bytes.
const MAX_TYPES: usize = 16 << 10;
/// The bytes that an event with a type has besides it: header, length and padding.
const EVENT: usize = 16;

/// What one client has now.
#[derive(Debug, Default)]
pub struct ObjectCounts {
    counts: [AtomicU32; Counted::VARIANTS.len()],
    /// The number of rectangles of each region, by the region's id.
    rectangles: Mutex<HashMap<u32, u32>>,
    /// The bytes of the types that each source of data offers, by the source's id.
    types: Mutex<HashMap<u32, usize>>,
}

impl ObjectCounts {
    /// Counts an object that is created.
    ///
    /// # Errors
    /// If the client has as many as it may have.
    pub fn add(&self, kind: Counted, limits: &ObjectLimits) -> Result<(), OverLimit> {
        let (limit, key) = kind.limit(limits);
        let count = &self.counts[kind as usize];
        // All of a client's requests are dispatched by one thread.
        let present = count.load(Ordering::Relaxed);
        if present >= limit {
            return Err(OverLimit { limit, key });
        }
        count.store(present + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Stops counting an object that was destroyed.
    pub fn remove(&self, kind: Counted) {
        let count = &self.counts[kind as usize];
        count.store(count.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// Counts a rectangle that is added to a region or subtracted from it.
    ///
    /// # Errors
    /// If the region has as many as it may have.
    pub fn add_rectangle(&self, region: u32, limits: &ObjectLimits) -> Result<(), OverLimit> {
        let mut rectangles = self.rectangles.lock().unwrap_or_else(PoisonError::into_inner);
        let count = rectangles.entry(region).or_default();
        let limit = limits.region_rectangles;
        if *count >= limit {
            return Err(OverLimit { limit, key: "region_rectangles" });
        }
        *count += 1;
        Ok(())
    }

    /// Counts a type that a source of data offers.
    ///
    /// # Errors
    /// The maximum of bytes, if the source's types have more.
    pub fn add_type(&self, source: u32, mime_type: &str) -> Result<(), usize> {
        let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = types.entry(source).or_default();
        *bytes += mime_type.len() + EVENT;
        if *bytes > MAX_TYPES {
            return Err(MAX_TYPES);
        }
        Ok(())
    }

    /// Forgets a source of data that is destroyed: its id may be used again.
    pub fn remove_source(&self, source: u32) {
        self.types.lock().unwrap_or_else(PoisonError::into_inner).remove(&source);
    }

    /// Forgets a region that is destroyed: its id may be used again.
    pub fn remove_region(&self, region: u32) {
        self.rectangles.lock().unwrap_or_else(PoisonError::into_inner).remove(&region);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_limit_of_its_own_and_is_free_again() {
        let limits = ObjectLimits { surfaces: 2, windows: 1, ..ObjectLimits::default() };
        let counts = ObjectCounts::default();
        assert_eq!(counts.add(Counted::Surface, &limits), Ok(()));
        assert_eq!(counts.add(Counted::Window, &limits), Ok(()));
        assert_eq!(counts.add(Counted::Surface, &limits), Ok(()));
        let over = counts.add(Counted::Surface, &limits).expect_err("two already");
        assert_eq!(over.to_string(), "more than 2 surfaces ([clients.objects] surfaces)");
        counts.remove(Counted::Surface);
        assert_eq!(counts.add(Counted::Surface, &limits), Ok(()));
        // More removed than added, after a change of the accounting: never below zero.
        counts.remove(Counted::Window);
        counts.remove(Counted::Window);
        assert_eq!(counts.add(Counted::Window, &limits), Ok(()));
        assert!(counts.add(Counted::Window, &limits).is_err());
    }

    #[test]
    fn rectangles_are_counted_by_region() {
        let limits = ObjectLimits { region_rectangles: 3, ..ObjectLimits::default() };
        let counts = ObjectCounts::default();
        for region in [5, 6] {
            assert!((0..3).all(|_| counts.add_rectangle(region, &limits).is_ok()));
            assert!(counts.add_rectangle(region, &limits).is_err());
        }
        counts.remove_region(5);
        assert!(counts.add_rectangle(5, &limits).is_ok() && counts.add_rectangle(6, &limits).is_err());
    }
}
