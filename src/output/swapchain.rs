//! The buffers of an output: one is scanned out, one is drawn into.

use std::io;

use crate::render::drawable::Drawable;

struct Slot {
    drawable: Drawable,
    /// The number of the frame that was last drawn into it; 0 for none.
    frame: u64,
}

/// Buffers of one size, and the age of their contents.
pub struct Swapchain {
    size: (u32, u32),
    slots: Vec<Slot>,
    /// The slot that is scanned out, or that a pending commit will scan out.
    shown: Option<usize>,
    frames: u64,
}

/// Two are enough: nothing is drawn between a commit and its page flip.
const MAX_SLOTS: usize = 2;

impl Swapchain {
    pub fn new(size: (u32, u32)) -> Self {
        Self { size, slots: Vec::new(), shown: None, frames: 0 }
    }

    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Returns whether one of its buffers is shown, and the next one to draw into has no content
    /// yet.
    pub fn next_is_empty(&self) -> bool {
        let drawn = |slot: usize| Some(slot) != self.shown && self.slots[slot].frame > 0;
        self.shown.is_some() && !(0..self.slots.len()).any(drawn)
    }

    /// Returns a slot that is not shown, and its age: how many frames ago its contents were
    /// current; 0 if they are unknown (as in EGL_EXT_buffer_age).
    ///
    /// # Errors
    /// If a buffer cannot be allocated.
    pub fn acquire(
        &mut self,
        allocate: impl FnOnce((u32, u32)) -> io::Result<Drawable>,
    ) -> io::Result<(usize, usize)> {
        let free = |slot: usize| Some(slot) != self.shown;
        let newest =
            (0..self.slots.len()).filter(|slot| free(*slot)).max_by_key(|slot| self.slots[*slot].frame);
        let slot = match newest {
            Some(slot) => slot,
            None if self.slots.len() < MAX_SLOTS => {
                self.slots.push(Slot { drawable: allocate(self.size)?, frame: 0 });
                self.slots.len() - 1
            }
            None => return Err(io::Error::other("every buffer is in use")),
        };
        let frame = self.slots[slot].frame;
        let age = if frame == 0 { 0 } else { (self.frames - frame + 1) as usize };
        Ok((slot, age))
    }

    pub fn drawable(&mut self, slot: usize) -> Option<&mut Drawable> {
        self.slots.get_mut(slot).map(|slot| &mut slot.drawable)
    }

    /// Counts a frame that was drawn into no buffer: the contents of all are one frame older.
    pub fn counted(&mut self) {
        self.frames += 1;
    }

    /// A frame was drawn into a slot and committed.
    pub fn submitted(&mut self, slot: usize) {
        self.frames += 1;
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.frame = self.frames;
            self.shown = Some(slot);
        }
    }

    /// Marks the contents of all buffers as unknown.
    pub fn forget(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.frame = 0);
    }

    /// A client's buffer is scanned out instead.
    pub fn bypassed(&mut self) {
        self.shown = None;
        self.forget();
    }

    /// Returns the slot that is scanned out, or that a pending commit will scan out.
    pub fn shown_slot(&self) -> Option<usize> {
        self.shown
    }

    /// The last frames were not committed: this slot is still scanned out.
    pub fn set_shown(&mut self, slot: Option<usize>) {
        self.shown = slot.filter(|slot| *slot < self.slots.len());
    }

    /// Returns the buffer that a virtual output shows.
    #[cfg(test)]
    pub fn shown(&mut self) -> Option<&mut Drawable> {
        let slot = self.shown?;
        self.drawable(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocate(size: (u32, u32)) -> io::Result<Drawable> {
        Drawable::memory(size)
    }

    #[test]
    fn age_is_the_number_of_frames_since() {
        let mut chain = Swapchain::new((4, 4));
        let mut next = || {
            let (slot, age) = chain.acquire(allocate).unwrap_or_default();
            chain.submitted(slot);
            (slot, age)
        };
        assert_eq!([next(), next(), next(), next()], [(0, 0), (1, 0), (0, 2), (1, 2)]);
    }

    #[test]
    fn frame_that_was_not_submitted_keeps_the_age() {
        let mut chain = Swapchain::new((4, 4));
        for _ in 0..2 {
            let (slot, _) = chain.acquire(allocate).unwrap_or_default();
            chain.submitted(slot);
        }
        assert_eq!(chain.acquire(allocate).ok(), Some((0, 2)));
        assert_eq!(chain.acquire(allocate).ok(), Some((0, 2)));
        chain.forget();
        assert_eq!(chain.acquire(allocate).ok(), Some((0, 0)));
    }
}
