//! The window of an unresponsive client, and the choice that the user has there: wait or close.

use smithay::utils::{Logical, Point, Rectangle};

use super::stack::ShellWindow;
use super::{Effect, Effects, Shell};
use crate::clients::ClientId;
use crate::output::outputs::Outputs;
use crate::output::OutputId;
use crate::render::own_content::CoveredWindow;
use crate::render::unresponsive_overlay::Choice;

/// What the shell needs to know of an unresponsive client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnresponsiveClient {
    pub pid: i32,
    /// The user chose to wait, and that time is not over.
    pub is_waited_for: bool,
}

/// A window that the overlay for unresponsive clients covers.
#[derive(Debug, Clone, PartialEq)]
pub struct UnresponsiveWindow {
    pub client: ClientId,
    /// Its name is the window's title, or else its app id, or else the client's process id. The
    /// overlay does not offer the choice while the user waits.
    pub covered: CoveredWindow,
}

impl Shell {
    /// Returns the frontmost visible window of an output whose client is unresponsive.
    /// `unresponsive` returns what there is to know of a client, if it is unresponsive.
    pub fn unresponsive_window(
        &self,
        output: OutputId,
        outputs: &Outputs,
        unresponsive: impl Fn(ClientId) -> Option<UnresponsiveClient>,
    ) -> Option<UnresponsiveWindow> {
        let is_unresponsive =
            |window: &ShellWindow| window.shown_on == Some(output) && unresponsive(window.client).is_some();
        // The usual case.
        if !self.windows().iter().any(is_unresponsive) {
            return None;
        }
        self.visible_windows(output).into_iter().find_map(|window| {
            let client = unresponsive(window.client)?;
            let area = Rectangle::new(self.window_location(window, outputs)?, window.handle.geometry().size);
            // A client may declare any size; the overlay covers what is on the output.
            let size = outputs.get(output)?.geometry().size;
            let area = area.intersection(Rectangle::from_size(size))?;
            let (app_id, title) = window.app_id_and_title();
            let name = title.filter(|title| !title.is_empty()).or(app_id);
            let unnamed = || match client.pid {
                pid if pid > 0 => format!("process {pid}"),
                _ => format!("client {}", window.client),
            };
            let name = name.unwrap_or_else(unnamed);
            let covered = CoveredWindow { name, area, asks: !client.is_waited_for };
            Some(UnresponsiveWindow { client: window.client, covered })
        })
    }

    /// Handles a click or touch at a point of the layout. Returns `None` if no overlay is there:
    /// then the input is for the surface at that point. Otherwise no surface gets it, and the
    /// effects are the user's choice, if the overlay offers one at that point.
    pub fn press_unresponsive_overlay(
        &self,
        point: Point<f64, Logical>,
        outputs: &Outputs,
        unresponsive: impl Fn(ClientId) -> Option<UnresponsiveClient>,
    ) -> Option<Effects> {
        let output = outputs.at(point)?;
        let UnresponsiveWindow { client, covered } =
            self.unresponsive_window(output.id, outputs, unresponsive)?;
        let local = output.local(point);
        if !covered.area.to_f64().contains(local) {
            return None;
        }
        let size = covered.area.size.to_f64().to_physical(output.state().scale).to_i32_round();
        let at = (local - covered.area.loc.to_f64()).to_physical(output.state().scale);
        let choice = output.own_content.overlay_choice(size, at);
        let effect = choice.filter(|_| covered.asks).map(|choice| match choice {
            Choice::Wait => Effect::Wait(client),
            Choice::Close => Effect::Close(client),
        });
        Some(effect.into_iter().collect())
    }
}
