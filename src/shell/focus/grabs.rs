//! The popups that take all input (xdg_popup.grab). Pure.
//!
//! There is one chain for all devices: a menu, its submenu, and so on. The program that owns it
//! gets pointer and touch events on all of its surfaces, and the innermost popup has the keyboard.
//! Whatever presses outside that program, on any display, dismisses the whole chain. Smithay keeps
//! such a chain per device that the seat has when the popup opens: not for touch, and not for a
//! mouse that comes later (docs/upstream/smithay.md).
//!
//! ```text
//!              grab of a child of the innermost popup
//!                          ┌───────┐
//!   Empty ──grab──> Open ──┘       │ destroyed: the popup, and those that it opened, leave
//!     ^              │ <───────────┘
//!     └──────────────┘ dismissed, or the last popup is destroyed
//! ```

use crate::clients::ClientId;

/// The popups that take all input, and who owns them. `K` is a surface.
#[derive(Debug, Clone)]
pub struct GrabChain<K> {
    /// From the first to the innermost one.
    popups: Vec<K>,
    /// The window or layer surface that they belong to, and its client.
    root: Option<(K, ClientId)>,
}

/// A popup that asks to take all input.
#[derive(Debug, Clone)]
pub struct GrabRequest<K> {
    pub popup: K,
    /// The popup that it belongs to. `None` if it belongs to the root itself.
    pub parent: Option<K>,
    pub root: K,
    pub client: ClientId,
}

/// The answer to a [`GrabRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrabAnswer {
    /// It is the innermost popup now.
    Taken,
    /// Its parent takes no input, or does so no longer: it is to be dismissed.
    ParentDismissed,
    /// Another popup of its parent takes all input: a protocol error.
    NotTopmost,
}

impl<K> Default for GrabChain<K> {
    fn default() -> Self {
        Self { popups: Vec::new(), root: None }
    }
}

impl<K: Clone + PartialEq> GrabChain<K> {
    /// Returns whether no popup takes all input.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.popups.is_empty()
    }

    /// Returns whether a popup takes all input.
    pub fn contains(&self, popup: &K) -> bool {
        self.popups.contains(popup)
    }

    /// Returns the popup that has the keyboard.
    pub fn innermost(&self) -> Option<&K> {
        self.popups.last()
    }

    /// Returns the window or layer surface that the popups belong to.
    pub fn root(&self) -> Option<&K> {
        self.root.as_ref().map(|(root, _)| root)
    }

    /// Returns the client that owns the popups.
    pub fn owner(&self) -> Option<ClientId> {
        self.root.as_ref().map(|(_, client)| *client)
    }

    /// Answers a popup that may take all input. The chain of another root must have been dismissed
    /// before.
    pub fn grab(&mut self, request: GrabRequest<K>) -> GrabAnswer {
        let GrabRequest { popup, parent, root, client } = request;
        match parent {
            Some(parent) if self.innermost() == Some(&parent) => self.popups.push(popup),
            Some(parent) if self.popups.contains(&parent) => return GrabAnswer::NotTopmost,
            Some(_) => return GrabAnswer::ParentDismissed,
            None => {
                self.popups = vec![popup];
                self.root = Some((root, client));
            }
        }
        GrabAnswer::Taken
    }

    /// A popup is destroyed or unmapped: it and those that it opened take no input. Returns whether
    /// it did.
    pub fn remove(&mut self, popup: &K) -> bool {
        let Some(position) = self.popups.iter().position(|known| known == popup) else { return false };
        self.popups.truncate(position);
        if self.popups.is_empty() {
            self.root = None;
        }
        true
    }

    /// Ends the chain. Returns the popups to dismiss, the innermost first as the protocol requires.
    pub fn dismiss(&mut self) -> Vec<K> {
        self.root = None;
        let mut popups = std::mem::take(&mut self.popups);
        popups.reverse();
        popups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(popup: u32, parent: Option<u32>) -> GrabRequest<u32> {
        GrabRequest { popup, parent, root: 100, client: 1.into() }
    }

    #[test]
    fn submenus_are_innermost_in_turn_and_leave_with_their_menu() {
        let mut chain = GrabChain::default();
        assert_eq!(chain.grab(request(1, None)), GrabAnswer::Taken);
        assert_eq!(chain.grab(request(2, Some(1))), GrabAnswer::Taken);
        assert_eq!((chain.innermost(), chain.owner()), (Some(&2), Some(1.into())));
        assert_eq!(chain.grab(request(3, Some(1))), GrabAnswer::NotTopmost);
        assert!(chain.remove(&2) && !chain.remove(&2));
        assert_eq!(chain.grab(request(3, Some(1))), GrabAnswer::Taken);
        assert!(chain.remove(&1));
        assert!(chain.is_empty() && chain.root().is_none() && chain.owner().is_none());
        assert_eq!(chain.grab(request(4, Some(1))), GrabAnswer::ParentDismissed);
    }

    #[test]
    fn popups_are_dismissed_from_the_innermost_one() {
        let mut chain = GrabChain::default();
        for (popup, parent) in [(1, None), (2, Some(1)), (3, Some(2))] {
            assert_eq!(chain.grab(request(popup, parent)), GrabAnswer::Taken);
        }
        assert_eq!(chain.dismiss(), [3, 2, 1]);
        assert!(chain.is_empty());
        assert_eq!(chain.grab(request(5, Some(3))), GrabAnswer::ParentDismissed);
    }
}
