//! The buffers of an output: one is scanned out, one is drawn into, and while frames are drawn
//! ahead, a third one is drawn into while the second waits for its page flip.

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
    /// The slot that is scanned out until the pending commit's page flip.
    leaving: Option<usize>,
    /// The slot that is drawn and will be committed after the pending commit's page flip.
    ahead: Option<usize>,
    frames: u64,
}

/// Two are enough if nothing is drawn between a commit and its page flip.
const USUAL_SLOTS: usize = 2;
const MAX_SLOTS: usize = 3;

impl Swapchain {
    pub fn new(size: (u32, u32)) -> Self {
        Self { size, slots: Vec::new(), shown: None, leaving: None, ahead: None, frames: 0 }
    }

    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    fn is_free(&self, slot: usize) -> bool {
        ![self.shown, self.leaving, self.ahead].contains(&Some(slot))
    }

    /// Returns whether one of its buffers is shown, and the next one to draw into has no content
    /// yet.
    pub fn next_is_empty(&self) -> bool {
        let drawn = |slot: usize| self.is_free(slot) && self.slots[slot].frame > 0;
        self.shown.is_some() && !(0..self.slots.len()).any(drawn)
    }

    /// Returns a slot that is free, and its age: how many frames ago its contents were
    /// current; 0 if they are unknown (as in EGL_EXT_buffer_age).
    ///
    /// `is_ahead` means that a frame is pending: there may be a third buffer then. Without, the one
    /// that a page flip is about to replace counts as free.
    ///
    /// # Errors
    /// If a buffer cannot be allocated.
    pub fn acquire(
        &mut self,
        is_ahead: bool,
        allocate: impl FnOnce((u32, u32)) -> io::Result<Drawable>,
    ) -> io::Result<(usize, usize)> {
        let free = (0..self.slots.len()).filter(|slot| self.is_free(*slot));
        let newest = free.max_by_key(|slot| self.slots[*slot].frame);
        let limit = if is_ahead { MAX_SLOTS } else { USUAL_SLOTS };
        let slot = match newest {
            Some(slot) => slot,
            None if self.slots.len() < limit => {
                self.slots.push(Slot { drawable: allocate(self.size)?, frame: 0 });
                self.slots.len() - 1
            }
            None => self
                .leaving
                .filter(|_| !is_ahead)
                .ok_or_else(|| io::Error::other("every buffer is in use"))?,
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
        self.note_drawn(slot);
        self.leaving = self.shown.replace(slot);
    }

    fn note_drawn(&mut self, slot: usize) {
        self.frames += 1;
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.frame = self.frames;
        }
    }

    /// A frame was drawn into a slot while another one is pending.
    pub fn drawn_ahead(&mut self, slot: usize) {
        self.note_drawn(slot);
        self.ahead = Some(slot);
    }

    /// The frame of [`Self::drawn_ahead`] was committed.
    pub fn ahead_submitted(&mut self) {
        if let Some(slot) = self.ahead.take() {
            self.leaving = self.shown.replace(slot);
        }
    }

    /// The frame of [`Self::drawn_ahead`] will not be committed.
    pub fn ahead_dropped(&mut self) {
        self.ahead = None;
    }

    /// The last frame that was committed is shown.
    pub fn presented(&mut self) {
        self.leaving = None;
    }

    /// Frees the third buffer, if nothing uses it: of those that are free, the one with the oldest
    /// content.
    pub fn trim(&mut self) {
        if self.slots.len() <= USUAL_SLOTS {
            return;
        }
        let free = (0..self.slots.len()).filter(|slot| self.is_free(*slot));
        let Some(unused) = free.min_by_key(|slot| self.slots[*slot].frame) else { return };
        self.slots.swap_remove(unused);
        let moved = self.slots.len();
        for slot in [&mut self.shown, &mut self.leaving, &mut self.ahead] {
            if *slot == Some(moved) {
                *slot = Some(unused);
            }
        }
    }

    /// Marks the contents of all buffers as unknown.
    pub fn forget(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.frame = 0);
    }

    /// A client's buffer is scanned out instead.
    pub fn bypassed(&mut self) {
        self.leaving = self.shown.take();
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
            let (slot, age) = chain.acquire(false, allocate).unwrap_or_default();
            chain.submitted(slot);
            chain.presented();
            (slot, age)
        };
        assert_eq!([next(), next(), next(), next()], [(0, 0), (1, 0), (0, 2), (1, 2)]);
    }

    #[test]
    fn frame_that_was_not_submitted_keeps_the_age() {
        let mut chain = Swapchain::new((4, 4));
        for _ in 0..2 {
            let (slot, _) = chain.acquire(false, allocate).unwrap_or_default();
            chain.submitted(slot);
            chain.presented();
        }
        assert_eq!(chain.acquire(false, allocate).ok(), Some((0, 2)));
        assert_eq!(chain.acquire(false, allocate).ok(), Some((0, 2)));
        chain.forget();
        assert_eq!(chain.acquire(false, allocate).ok(), Some((0, 0)));
    }

    /// Draws each frame while the one before is pending.
    #[test]
    fn frames_are_drawn_ahead_into_a_third_buffer_that_is_freed_again() {
        let mut chain = Swapchain::new((4, 4));
        let (first, _) = chain.acquire(false, allocate).expect("a buffer");
        chain.submitted(first);
        let mut on_screen = first;
        let mut pending = first;
        let mut ages = Vec::new();
        for _ in 0..6 {
            let (slot, age) = chain.acquire(true, allocate).expect("a buffer");
            assert!(slot != on_screen && slot != pending);
            ages.push(age);
            chain.drawn_ahead(slot);
            chain.presented();
            on_screen = pending;
            chain.ahead_submitted();
            pending = slot;
        }
        assert_eq!(ages, [0, 0, 3, 3, 3, 3]);
        chain.presented();
        chain.trim();
        let (slot, age) = chain.acquire(false, allocate).expect("a buffer");
        assert_eq!((chain.slots.len(), age), (2, 2), "the content that is left is known");
        chain.submitted(slot);
        chain.presented();
        chain.trim();
        assert_eq!(chain.slots.len(), 2);
    }

    #[test]
    fn frame_that_was_drawn_ahead_may_be_dropped() {
        let mut chain = Swapchain::new((4, 4));
        let (first, _) = chain.acquire(false, allocate).expect("a buffer");
        chain.submitted(first);
        let (ahead, _) = chain.acquire(true, allocate).expect("a buffer");
        chain.drawn_ahead(ahead);
        chain.ahead_dropped();
        chain.forget();
        assert_eq!(chain.acquire(false, allocate).ok(), Some((ahead, 0)));
    }
    #[test]
    fn there_is_no_third_buffer_unless_frames_are_drawn_ahead() {
        let mut chain = Swapchain::new((4, 4));
        for _ in 0..2 {
            let (slot, _) = chain.acquire(false, allocate).expect("a buffer");
            chain.submitted(slot);
        }
        // The page flip of the second frame is not reported, as after a pause.
        assert_eq!(chain.acquire(false, allocate).ok(), Some((0, 2)));
        assert_eq!(chain.slots.len(), 2);
        assert_eq!(chain.acquire(true, allocate).ok(), Some((2, 0)));
    }
}
