//! The window on a display whose client does not answer, and what a person does about it.

use smithay::utils::{Logical, Point, Rectangle};

use super::windows::traits;
use crate::render::unresponsive_overlay::Choice;
use crate::clients::ClientId;
use crate::compositor::State;
use crate::output::OutputId;

/// A window under its unresponsive_overlay.
pub struct UnresponsiveWindow {
    pub client: ClientId,
    /// Its title, or else its app id.
    pub name: String,
    /// In the display's logical pixels.
    pub area: Rectangle<i32, Logical>,
    /// The choice is offered; hidden for a while where a person chose to wait.
    pub asks: bool,
}

impl State {
    /// The frontmost window on a display whose client does not answer.
    pub fn unresponsive_on(&self, id: OutputId) -> Option<UnresponsiveWindow> {
        let seen = self.visible_windows(id);
        seen.into_iter().find_map(|managed| {
            let client = managed.client;
            let record = self.clients.get(client).filter(|record| record.is_unresponsive())?;
            let (app_id, title) = traits(managed.toplevel()?);
            let named = title.filter(|title| !title.is_empty()).or(app_id);
            let area = Rectangle::new(self.window_location(managed)?, managed.window.geometry().size);
            let name = named.unwrap_or_else(|| format!("process {}", record.peer.pid));
            Some(UnresponsiveWindow { client, name, area, asks: record.wait_until.is_none() })
        })
    }

    #[cfg(test)]
    pub fn unresponsive_on_display(&self, name: &str) -> Option<UnresponsiveWindow> {
        self.unresponsive_on(self.outputs.id(name)?)
    }

    /// A press at a place of the layout; whether it was for a unresponsive_overlay, and so for nobody else.
    pub fn press_unresponsive_overlay(&mut self, point: Point<f64, Logical>) -> bool {
        let Some(output) = self.outputs.at(point) else { return false };
        let Some(hung) = self.unresponsive_on(output.id) else { return false };
        let scale = output.scale;
        let local = output.local(point) - hung.area.loc.to_f64();
        if !hung.area.to_f64().contains(output.local(point)) {
            return false;
        }
        let size = hung.area.size.to_f64().to_physical(scale).to_i32_round::<i32>();
        let at = local.to_physical(scale);
        let choice = output.unresponsive_overlay.choice((size.w, size.h), (at.x, at.y)).filter(|_| hung.asks);
        match choice {
            Some(Choice::Wait) => self.extend_wait(hung.client),
            Some(Choice::Close) => self.close_unresponsive(hung.client),
            None => {}
        }
        true
    }
}
