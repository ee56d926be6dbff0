//! Who receives what a tool of a graphics tablet does: a pen, an eraser, an airbrush. Pure.
//!
//! A tool in proximity is on what is under it: a surface whose client has bound tablet-v2, or, for
//! other clients, the pointer, which it moves. From a press to the release of the last one it stays
//! there, as a pressed mouse button and a finger do.
//!
//! ```text
//!             moved over another receiver (leave, enter)
//!                        ┌───────┐
//!   ┌─────┐  moved  ┌────┴─────┐ │        pressed         ┌──────┐ ──┐ moved, pressed,
//!   │ out │ ──────> │ hovering │ <──────────────────────> │ held │ <─┘ released
//!   └─────┘ <────── └──────────┘   the last is released,  └──────┘
//!      ^      out                  or its surface is gone    │
//!      └─────────────────────────────────────────────────────┘
//!                 out: presses are released first
//! ```
//!
//! A press that no client may get (it unblanks a display, it is on the overlay for unresponsive
//! clients, its surface is gone) is swallowed with its release.

/// The code of a tip as a button (linux/input-event-codes.h: `BTN_TOUCH`).
const BTN_TOUCH: u32 = 0x14a;
const BTN_LEFT: u32 = 0x110;
const BTN_RIGHT: u32 = 0x111;
const BTN_MIDDLE: u32 = 0x112;
const BTN_SIDE: u32 = 0x113;
/// The last button of a mouse, `BTN_TASK`.
const BTN_TASK: u32 = 0x117;
const BTN_STYLUS: u32 = 0x14b;
const BTN_STYLUS2: u32 = 0x14c;
const BTN_STYLUS3: u32 = 0x149;

/// The most presses that a tool has at a time.
const MAX_PRESSES: usize = 16;

/// What of a tool is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    Tip,
    /// A button, by its code in linux/input-event-codes.h.
    Button(u32),
}

impl Press {
    /// Returns its code in linux/input-event-codes.h.
    pub fn code(self) -> u32 {
        match self {
            Self::Tip => BTN_TOUCH,
            Self::Button(code) => code,
        }
    }

    /// Returns the button of a mouse that it stands for. `None` if there is none.
    pub fn pointer_button(self) -> Option<u32> {
        match self {
            Self::Tip => Some(BTN_LEFT),
            Self::Button(BTN_STYLUS) => Some(BTN_RIGHT),
            Self::Button(BTN_STYLUS2) => Some(BTN_MIDDLE),
            Self::Button(BTN_STYLUS3) => Some(BTN_SIDE),
            // The tools that are shaped as a mouse have its buttons.
            Self::Button(code @ BTN_LEFT..=BTN_TASK) => Some(code),
            Self::Button(_) => None,
        }
    }
}

/// Who receives a tool's events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Receiver<S> {
    #[default]
    None,
    /// A surface, by tablet-v2.
    Surface(S),
    /// The pointer, which the tool moves.
    Pointer,
}

/// What a receiver is sent, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<S> {
    /// The tool is on this surface from now on.
    Enter(S),
    /// It has left this surface.
    Leave(S),
    /// Its position, and what else has changed, to the surface that it is on.
    Motion(S),
    Press(S, Press),
    Release(S, Press),
    PointerMotion,
    PointerPress(Press),
    PointerRelease(Press),
}

/// See the [module](self). `S` is a surface.
#[derive(Debug)]
pub struct Pen<S> {
    receiver: Receiver<S>,
    /// What the receiver was sent as pressed.
    held: Vec<Press>,
    /// Presses whose release no client gets.
    swallowed: Vec<Press>,
}

impl<S> Default for Pen<S> {
    fn default() -> Self {
        Self { receiver: Receiver::None, held: Vec::new(), swallowed: Vec::new() }
    }
}

impl<S: Clone + PartialEq> Pen<S> {
    /// Returns the surface that it is on.
    pub fn surface(&self) -> Option<&S> {
        match &self.receiver {
            Receiver::Surface(surface) => Some(surface),
            Receiver::None | Receiver::Pointer => None,
        }
    }

    /// Returns whether a receiver has a press of it: it stays there.
    pub fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns the presses whose release no client gets.
    pub fn swallowed(&self) -> &[Press] {
        &self.swallowed
    }

    /// It moved, or another value of it changed. `target` is what is under it.
    pub fn moved(&mut self, target: Receiver<S>) -> Vec<Step<S>> {
        let mut steps = Vec::new();
        self.retarget(target, &mut steps);
        self.push_motion(&mut steps);
        steps
    }

    /// What is under it may have changed, while it lies still.
    pub fn refreshed(&mut self, target: Receiver<S>) -> Vec<Step<S>> {
        let mut steps = Vec::new();
        if self.retarget(target, &mut steps) {
            self.push_motion(&mut steps);
        }
        steps
    }

    /// The tip or a button is pressed. `is_accepted` says whether a client may get it.
    pub fn pressed(&mut self, press: Press, target: Receiver<S>, is_accepted: bool) -> Vec<Step<S>> {
        let mut steps = self.moved(target);
        let count = self.held.len() + self.swallowed.len();
        if self.held.contains(&press) || self.swallowed.contains(&press) || count >= MAX_PRESSES {
            return steps;
        }
        match &self.receiver {
            Receiver::Surface(surface) if is_accepted => steps.push(Step::Press(surface.clone(), press)),
            Receiver::Pointer if is_accepted => steps.push(Step::PointerPress(press)),
            _ => {
                self.swallowed.push(press);
                return steps;
            }
        }
        self.held.push(press);
        steps
    }

    /// The tip or a button is released.
    pub fn released(&mut self, press: Press, target: Receiver<S>) -> Vec<Step<S>> {
        self.swallowed.retain(|known| *known != press);
        let mut steps = Vec::new();
        self.push_motion(&mut steps);
        if let Some(position) = self.held.iter().position(|known| *known == press) {
            self.held.remove(position);
            self.push_release(press, &mut steps);
        }
        if self.retarget(target, &mut steps) {
            self.push_motion(&mut steps);
        }
        steps
    }

    /// It left the tablet's proximity, or its tablet is gone.
    pub fn out(&mut self) -> Vec<Step<S>> {
        let mut steps = Vec::new();
        self.swallowed.clear();
        self.release_all(&mut steps);
        self.retarget(Receiver::None, &mut steps);
        steps
    }

    /// The surface that it is on is no longer seen, or gone: what is pressed is not its any more.
    pub fn hidden(&mut self) -> Vec<Step<S>> {
        let mut steps = Vec::new();
        self.swallowed.extend(self.held.iter().copied());
        self.release_all(&mut steps);
        self.retarget(Receiver::None, &mut steps);
        steps
    }

    /// Returns whether the receiver changed.
    fn retarget(&mut self, target: Receiver<S>, steps: &mut Vec<Step<S>>) -> bool {
        if self.is_held() || self.receiver == target {
            return false;
        }
        if let Receiver::Surface(surface) = &self.receiver {
            steps.push(Step::Leave(surface.clone()));
        }
        if let Receiver::Surface(surface) = &target {
            steps.push(Step::Enter(surface.clone()));
        }
        self.receiver = target;
        true
    }

    fn push_motion(&self, steps: &mut Vec<Step<S>>) {
        match &self.receiver {
            Receiver::None => {}
            Receiver::Surface(surface) => steps.push(Step::Motion(surface.clone())),
            Receiver::Pointer => steps.push(Step::PointerMotion),
        }
    }

    fn push_release(&self, press: Press, steps: &mut Vec<Step<S>>) {
        match &self.receiver {
            Receiver::None => {}
            Receiver::Surface(surface) => steps.push(Step::Release(surface.clone(), press)),
            Receiver::Pointer => steps.push(Step::PointerRelease(press)),
        }
    }

    fn release_all(&mut self, steps: &mut Vec<Step<S>>) {
        while let Some(press) = self.held.pop() {
            self.push_release(press, steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STYLUS: Press = Press::Button(BTN_STYLUS);

    #[test]
    fn pen_stays_on_the_surface_that_it_touched() {
        let mut pen = Pen::default();
        assert_eq!(pen.moved(Receiver::Surface(1)), [Step::Enter(1), Step::Motion(1)]);
        let down = pen.pressed(Press::Tip, Receiver::Surface(1), true);
        assert_eq!(down, [Step::Motion(1), Step::Press(1, Press::Tip)]);
        assert_eq!(pen.moved(Receiver::Surface(2)), [Step::Motion(1)], "as a finger");
        assert_eq!(pen.pressed(STYLUS, Receiver::Pointer, true).last(), Some(&Step::Press(1, STYLUS)));
        assert_eq!(
            pen.released(Press::Tip, Receiver::Surface(2)),
            [Step::Motion(1), Step::Release(1, Press::Tip)]
        );
        assert_eq!(
            pen.released(STYLUS, Receiver::Surface(2)),
            [Step::Motion(1), Step::Release(1, STYLUS), Step::Leave(1), Step::Enter(2), Step::Motion(2),]
        );
        assert_eq!(pen.out(), [Step::Leave(2)]);
        assert_eq!(pen.out(), []);
    }

    #[test]
    fn pen_moves_the_pointer_of_clients_without_tablets() {
        let mut pen = Pen::<u32>::default();
        assert_eq!(pen.moved(Receiver::Pointer), [Step::PointerMotion]);
        let down = pen.pressed(Press::Tip, Receiver::Pointer, true);
        assert_eq!(down, [Step::PointerMotion, Step::PointerPress(Press::Tip)]);
        assert_eq!(pen.moved(Receiver::Surface(1)), [Step::PointerMotion]);
        assert_eq!(pen.out(), [Step::PointerRelease(Press::Tip)], "the device was unplugged");
        assert!(!pen.is_held());
        let codes =
            [Press::Tip, STYLUS, Press::Button(BTN_STYLUS2), Press::Button(0x112), Press::Button(0x100)];
        assert_eq!(
            codes.map(Press::pointer_button),
            [Some(BTN_LEFT), Some(BTN_RIGHT), Some(BTN_MIDDLE), Some(0x112), None]
        );
    }

    #[test]
    fn press_that_no_client_may_get_has_no_release() {
        let mut pen = Pen::default();
        pen.moved(Receiver::Surface(1));
        assert_eq!(pen.pressed(Press::Tip, Receiver::Surface(1), false), [Step::Motion(1)]);
        assert_eq!(pen.swallowed(), [Press::Tip]);
        assert_eq!(pen.released(Press::Tip, Receiver::Surface(1)), [Step::Motion(1)]);
        // Nothing is there.
        pen.out();
        assert_eq!(pen.pressed(Press::Tip, Receiver::None, true), []);
        assert_eq!(pen.moved(Receiver::Surface(2)), [Step::Enter(2), Step::Motion(2)]);
        assert_eq!(pen.released(Press::Tip, Receiver::Surface(2)), [Step::Motion(2)]);
    }

    #[test]
    fn surface_that_is_hidden_or_gone_keeps_no_press() {
        let mut pen = Pen::default();
        pen.pressed(Press::Tip, Receiver::Surface(1), true);
        assert_eq!(pen.hidden(), [Step::Release(1, Press::Tip), Step::Leave(1)]);
        assert_eq!(pen.moved(Receiver::Surface(2)), [Step::Enter(2), Step::Motion(2)]);
        assert_eq!(pen.released(Press::Tip, Receiver::Surface(2)), [Step::Motion(2)], "not its press");
        pen.pressed(Press::Tip, Receiver::Surface(2), true);
        assert_eq!(pen.hidden(), [Step::Release(2, Press::Tip), Step::Leave(2)]);
        assert_eq!(pen.released(Press::Tip, Receiver::None), []);
    }

    #[derive(Debug, Clone, Copy)]
    enum Action {
        Moved,
        Refreshed,
        Pressed(Press, bool),
        Released(Press),
        Out,
        Hidden,
    }

    fn action() -> impl Strategy<Value = Action> {
        let press = || prop::sample::select(vec![Press::Tip, STYLUS, Press::Button(BTN_STYLUS2)]);
        prop_oneof![
            3 => Just(Action::Moved),
            1 => Just(Action::Refreshed),
            3 => (press(), prop::bool::weighted(0.8)).prop_map(|(press, accepted)| Action::Pressed(press, accepted)),
            3 => press().prop_map(Action::Released),
            1 => Just(Action::Out),
            1 => Just(Action::Hidden),
        ]
    }

    proptest! {
        /// In any order, as each client sees it: enter and leave alternate, everything else comes
        /// between them, each press has one release, and none is left after a leave.
        #[test]
        fn each_client_sees_a_consistent_tool(
            actions in prop::collection::vec((action(), 0u32..4), 0..80),
        ) {
            let mut pen = Pen::default();
            let (mut on, mut pressed, mut pointer) = (None, Vec::new(), Vec::new());
            for (action, under) in actions.into_iter().chain([(Action::Out, 0)]) {
                let target = match under {
                    0 => Receiver::None,
                    1 => Receiver::Pointer,
                    surface => Receiver::Surface(surface),
                };
                let steps = match action {
                    Action::Moved => pen.moved(target),
                    Action::Refreshed => pen.refreshed(target),
                    Action::Pressed(press, is_accepted) => pen.pressed(press, target, is_accepted),
                    Action::Released(press) => pen.released(press, target),
                    Action::Out => pen.out(),
                    Action::Hidden => pen.hidden(),
                };
                for step in steps {
                    match step {
                        Step::Enter(surface) => {
                            prop_assert!(on.is_none() && pressed.is_empty());
                            on = Some(surface);
                        }
                        Step::Leave(surface) => {
                            prop_assert!(on == Some(surface) && pressed.is_empty());
                            on = None;
                        }
                        Step::Motion(surface) => prop_assert_eq!(on, Some(surface)),
                        Step::Press(surface, press) => {
                            prop_assert!(on == Some(surface) && !pressed.contains(&press));
                            pressed.push(press);
                        }
                        Step::Release(surface, press) => {
                            prop_assert!(on == Some(surface) && pressed.contains(&press));
                            pressed.retain(|known| *known != press);
                        }
                        Step::PointerMotion => prop_assert!(on.is_none()),
                        Step::PointerPress(press) => pointer.push(press),
                        Step::PointerRelease(press) => {
                            prop_assert!(pointer.contains(&press));
                            pointer.retain(|known| *known != press);
                        }
                    }
                }
                prop_assert_eq!(pen.is_held(), !pressed.is_empty() || !pointer.is_empty());
                prop_assert!(pressed.is_empty() || pointer.is_empty());
            }
            prop_assert!(on.is_none() && !pen.is_held() && pen.swallowed().is_empty());
        }
    }
}
