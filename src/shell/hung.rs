//! The window on a display whose client does not answer, and what a person does about it.

use smithay::utils::{Logical, Point, Rectangle};

use super::windows::traits;
use crate::render::notice::Choice;
use crate::state::State;

/// A window under its notice.
pub struct Hung {
    pub client: u64,
    /// Its title, or else its app id.
    pub name: String,
    /// In the display's logical pixels.
    pub area: Rectangle<i32, Logical>,
    /// The choice is offered; hidden for a while where a person chose to wait.
    pub asks: bool,
}

impl State {
    /// The frontmost window on a display whose client does not answer.
    pub fn hung_on(&self, display: &str) -> Option<Hung> {
        let seen = self.seen_windows(display);
        seen.into_iter().find_map(|managed| {
            let client = managed.client;
            let record = self.clients.records.get(&client).filter(|record| record.is_unresponsive())?;
            let (app_id, title) = traits(managed.toplevel()?);
            let named = title.filter(|title| !title.is_empty()).or(app_id);
            let area = Rectangle::new(self.window_location(managed)?, managed.window.geometry().size);
            let name = named.unwrap_or_else(|| format!("process {}", record.peer.pid));
            Some(Hung { client, name, area, asks: record.patience.is_none() })
        })
    }

    /// A press at a place of the layout; whether it was for a notice, and so for nobody else.
    pub fn press_notice(&mut self, point: Point<f64, Logical>) -> bool {
        let Some(screen) = self.screens.at(point) else { return false };
        let Some(hung) = self.hung_on(&screen.name) else { return false };
        let scale = screen.scale();
        let local = screen.local(point) - hung.area.loc.to_f64();
        if !hung.area.to_f64().contains(screen.local(point)) {
            return false;
        }
        let size = hung.area.size.to_f64().to_physical(scale).to_i32_round::<i32>();
        let at = local.to_physical(scale);
        let choice = screen.notice.choice((size.w, size.h), (at.x, at.y)).filter(|_| hung.asks);
        match choice {
            Some(Choice::Wait) => self.wait_for(hung.client),
            Some(Choice::Close) => self.close_hung(hung.client),
            None => {}
        }
        true
    }
}
