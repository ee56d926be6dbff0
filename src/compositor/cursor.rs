//! When the cursor is shown.

use super::deadline::Deadline;
use super::State;
use crate::input::{CursorEffects, CursorEvent};

impl State {
    /// Notes how the pointer, or a screen, is used, which shows or hides the cursor.
    pub(super) fn cursor_event(&mut self, event: CursorEvent) {
        if event == CursorEvent::Used && self.input.pointer().tool().is_some() {
            // A pen that lies on its tablet has its cursor back with its next event.
            self.redraw_under_tool();
            self.input.pointer_mut().hide_tool();
            self.redraw_under_pointer();
        }
        let now = self.iteration_start();
        let effects = self.input.pointer_mut().on_cursor_event(event, now);
        self.apply_cursor(effects);
    }

    /// Applies the effects of an event or of a changed configuration.
    pub(super) fn apply_cursor(&mut self, effects: CursorEffects) {
        if effects.changed {
            self.redraw_under_pointer();
        }
        if let Some(at) = effects.arm {
            let timer = self.timers.at(at, Deadline::HideCursor);
            if let Some(replaced) = self.cursor_timer.replace(timer) {
                self.timers.cancel(replaced);
            }
        }
    }

    /// The time without use may be over.
    pub(super) fn hide_cursor_due(&mut self) {
        self.cursor_timer = None;
        self.cursor_event(CursorEvent::Due);
    }

    /// Redraws the output that the pointer is on.
    pub fn redraw_under_pointer(&mut self) {
        if let Some(id) = self.input.pointer().output(&self.outputs) {
            self.queue_cursor_redraw(id);
        }
    }

    /// Redraws the output that shows the cursor of a tool of a tablet.
    pub(super) fn redraw_under_tool(&mut self) {
        if let Some(id) = self.input.pointer().tool_output(&self.outputs) {
            self.queue_cursor_redraw(id);
        }
    }

    /// As [`Self::redraw_under_pointer`], if anything is drawn at the pointer: motion of a hidden
    /// cursor redraws nothing.
    pub(super) fn redraw_moved_pointer(&mut self) {
        if self.input.pointer().is_drawn() {
            self.redraw_under_pointer();
        }
    }
}
