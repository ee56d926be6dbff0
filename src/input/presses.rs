//! The last presses of keys, buttons and fingers, and which client got each: a client may ask for
//! something that it must have been allowed by the user, such as a popup that takes all input, and
//! names the press.

use std::collections::VecDeque;

use smithay::utils::Serial;

use crate::clients::ClientId;

/// How many presses count as recent.
const MAX: usize = 32;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Presses(VecDeque<(Serial, ClientId)>);

impl Presses {
    /// Notes a press that a client was sent.
    pub fn push(&mut self, serial: Serial, client: ClientId) {
        if self.0.len() == MAX {
            self.0.pop_front();
        }
        self.0.push_back((serial, client));
    }

    /// Returns the last press that a client was sent.
    #[cfg(test)]
    pub fn last(&self) -> Option<Serial> {
        self.0.back().map(|(serial, _)| *serial)
    }

    /// Returns whether a client was sent this press recently.
    pub fn were_sent(&self, serial: Serial, client: ClientId) -> bool {
        self.0.contains(&(serial, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recent_presses_of_the_same_client_count() {
        let mut presses = Presses::default();
        presses.push(Serial::from(1), 7.into());
        assert!(presses.were_sent(Serial::from(1), 7.into()));
        assert!(
            !presses.were_sent(Serial::from(1), 8.into()) && !presses.were_sent(Serial::from(2), 7.into())
        );
        for serial in 2..34 {
            presses.push(Serial::from(serial), 8.into());
        }
        assert!(
            !presses.were_sent(Serial::from(1), 7.into()) && presses.were_sent(Serial::from(2), 8.into())
        );
        assert_eq!(presses.0.len(), MAX);
    }
}
