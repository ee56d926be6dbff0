//! The buffers of one display: one on the output, one to draw into.

use std::io;

use crate::render::drawable::Drawable;

struct Slot {
    drawable: Drawable,
    /// The number of the frame that was last drawn into it; 0 for none.
    frame: u64,
}

/// Buffers of one size, and how old their contents are.
pub struct Swapchain {
    size: (u32, u32),
    slots: Vec<Slot>,
    /// On the output, or with the kernel to become so.
    shown: Option<usize>,
    frames: u64,
}

/// Two suffice: nothing is drawn between a commit and its page flip.
const SLOTS: usize = 2;

impl Swapchain {
    pub fn new(size: (u32, u32)) -> Self {
        Self { size, slots: Vec::new(), shown: None, frames: 0 }
    }

    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// A buffer of ours is shown, and the next to draw into has nothing in it yet.
    pub fn next_is_empty(&self) -> bool {
        let drawn = |slot: usize| Some(slot) != self.shown && self.slots[slot].frame > 0;
        self.shown.is_some() && !(0..self.slots.len()).any(drawn)
    }

    /// A buffer that is not shown, and its age: how many frames ago its contents were current, 0
    /// where they never were (as in EGL_EXT_buffer_age).
    pub fn acquire(
        &mut self,
        allocate: impl FnOnce((u32, u32)) -> io::Result<Drawable>,
    ) -> io::Result<(usize, usize)> {
        let free = |slot: usize| Some(slot) != self.shown;
        let newest =
            (0..self.slots.len()).filter(|slot| free(*slot)).max_by_key(|slot| self.slots[*slot].frame);
        let slot = match newest {
            Some(slot) => slot,
            None if self.slots.len() < SLOTS => {
                self.slots.push(Slot { drawable: allocate(self.size)?, frame: 0 });
                self.slots.len() - 1
            }
            None => return Err(io::Error::other("every buffer is shown")),
        };
        let frame = self.slots[slot].frame;
        let age = if frame == 0 { 0 } else { (self.frames - frame + 1) as usize };
        Ok((slot, age))
    }

    pub fn drawable(&mut self, slot: usize) -> Option<&mut Drawable> {
        self.slots.get_mut(slot).map(|slot| &mut slot.drawable)
    }

    /// What the other buffers hold is unknown from now on.
    pub fn forget_others(&mut self, slot: usize) {
        for (place, other) in self.slots.iter_mut().enumerate() {
            if place != slot {
                other.frame = 0;
            }
        }
    }

    /// A frame was drawn into the slot and will be shown.
    pub fn submitted(&mut self, slot: usize) {
        self.frames += 1;
        if let Some(entry) = self.slots.get_mut(slot) {
            entry.frame = self.frames;
            self.shown = Some(slot);
        }
    }

    /// Contents count for nothing any more.
    pub fn forget(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.frame = 0);
    }

    /// None of our buffers is on the output: a client's is.
    pub fn bypassed(&mut self) {
        self.shown = None;
        self.forget();
    }

    /// What a virtual display shows.
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
    fn ages_count_frames() {
        let mut chain = Swapchain::new((4, 4));
        let mut next = || {
            let (slot, age) = chain.acquire(allocate).unwrap_or_default();
            chain.submitted(slot);
            (slot, age)
        };
        assert_eq!([next(), next(), next(), next()], [(0, 0), (1, 0), (0, 2), (1, 2)]);
    }

    #[test]
    fn a_frame_that_was_not_shown_leaves_its_age() {
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
