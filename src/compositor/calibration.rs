//! Calibrates a touchscreen: takes its touches, shows targets on its display, and applies the
//! matrix that follows. Whatever ends it otherwise, the device and the display are as before.

use std::time::Duration;

use geom_ipc::{CalibrationState, Error, Event as IpcEvent, Response};
use smithay::backend::input::{
    AbsolutePositionEvent, Event, InputEvent, TabletToolTipEvent, TabletToolTipState,
};
use smithay::backend::libinput::LibinputInputBackend;
use smithay::reexports::input::event::touch::TouchEventSlot;
use smithay::reexports::input::DeviceCapability;
use smithay::utils::{Logical, Physical, Size, Transform};
use tracing::info;

use super::deadline::Deadline;
use super::State;
use crate::clients::ClientId;
use crate::control::command::{bad_value, failed, not_found, CalibrationCommand};
use crate::event_loop::timers::Timer;
use crate::input::calibration::{Again, Calibration, Fractions, Matrix, Outcome, IDENTITY, TOUCHES};
use crate::input::{position_on_device, DeviceInfo};
use crate::output::OutputId;
use crate::render::calibration_page::CalibrationInfo;

/// How long the calibration waits for a touch.
const TOUCH_TIMEOUT: Duration = Duration::from_secs(60);
/// How many fingers are known at a time.
const MAX_FINGERS: usize = 64;
/// The size of the space that positions are asked in, which are fractions of it.
const SPACE: i32 = 1 << 16;

/// A calibration that goes on.
pub struct RunningCalibration {
    calibration: Calibration,
    /// The control client that began it.
    client: ClientId,
    sysname: String,
    name: String,
    output: OutputId,
    display: String,
    transform: Transform,
    /// The matrix until now.
    before: Matrix,
    /// The finger that touches: its number, where it touched, and where it is.
    finger: Option<(Option<u32>, Fractions, Fractions)>,
    /// All fingers that were put down since the beginning. The others go on as before.
    fingers: Vec<u32>,
    message: Option<&'static str>,
    overdue: Timer,
}

impl RunningCalibration {
    /// A finger is lifted. Returns whether it was put down since the beginning.
    fn lift(&mut self, finger: u32) -> bool {
        let before = self.fingers.len();
        self.fingers.retain(|known| *known != finger);
        self.fingers.len() != before
    }
}

/// Returns what to say of a target that is shown again.
fn message(again: Again) -> &'static str {
    match again {
        Again::Moved => "Keep the finger still until you lift it",
        Again::Outlier => "That was not on the cross: once more",
        Again::NoFit => "The touches do not fit together: from the start",
        Again::Missed => "That was not where you touched: once more",
    }
}

/// Returns where a touch is on the device that is not calibrated.
fn fractions<E: AbsolutePositionEvent<LibinputInputBackend>>(event: &E) -> Fractions {
    let size: Size<i32, Logical> = (SPACE, SPACE).into();
    let point = position_on_device(event.position_transformed(size), size);
    (point.x / f64::from(SPACE), point.y / f64::from(SPACE))
}

impl State {
    /// Carries out a command of a control client.
    pub(super) fn command_calibration(
        &mut self,
        id: ClientId,
        command: CalibrationCommand,
    ) -> Result<Response, Error> {
        match command {
            CalibrationCommand::Start(device) => {
                let started = self.start_calibration(id, device.as_deref())?;
                Ok(Response::Calibration(started))
            }
            CalibrationCommand::Cancel if self.calibration.is_some() => {
                self.end_calibration("it was cancelled");
                Ok(Response::Done)
            }
            CalibrationCommand::Cancel => Err(not_found("no calibration goes on".into())),
        }
    }

    /// Returns the device that is to be calibrated.
    fn calibrated_device(&self, wanted: Option<&str>) -> Result<DeviceInfo, Error> {
        let is_screen = |device: &DeviceInfo| {
            let tablet = self.input.tablets.get(&device.sysname);
            device.has(DeviceCapability::Touch) || tablet.is_some_and(|tablet| tablet.is_direct)
        };
        let is_wanted =
            |device: &DeviceInfo| wanted.is_none_or(|name| name == device.sysname || name == device.name);
        let devices = self.input.devices.iter().map(|device| &device.info);
        let mut found: Vec<&DeviceInfo> =
            devices.filter(|device| is_screen(device) && is_wanted(device)).collect();
        match (found.pop(), found.is_empty(), wanted) {
            (Some(device), true, _) => Ok(device.clone()),
            (None, _, Some(name)) => Err(not_found(format!("there is no touchscreen {name}"))),
            (None, _, None) => Err(not_found("there is no touchscreen".into())),
            (Some(device), false, _) => {
                let all = found.into_iter().chain([device]);
                let names: Vec<String> =
                    all.map(|device| format!("{} ({})", device.sysname, device.name)).collect();
                Err(bad_value(format!("name one of several touchscreens: {}", names.join(", "))))
            }
        }
    }

    fn start_calibration(
        &mut self,
        client: ClientId,
        wanted: Option<&str>,
    ) -> Result<geom_ipc::Calibration, Error> {
        if let Some(running) = &self.calibration {
            let name = &running.name;
            return Err(failed(format!("{name} is being calibrated; end that first")));
        }
        let DeviceInfo { sysname, name, .. } = self.calibrated_device(wanted)?;
        let before = self.input.calibration(&sysname).ok_or_else(|| {
            failed(format!("libinput cannot calibrate {name}: it has no absolute positions"))
        })?;
        // Idle displays are on again.
        self.activity();
        let (output, display, transform) = self.calibrated_display(&sysname)?;
        // Touches are to be those of the device without any calibration.
        self.input.set_calibration(&sysname, IDENTITY).map_err(failed)?;
        // Those that are down would jump.
        self.cancel_fingers_of(&sysname);
        let shown_on = display.as_str();
        info!(device = name, display = shown_on, "calibration begins");
        self.remove_pens_of(&sysname);
        let overdue = self.timers.at(self.now() + TOUCH_TIMEOUT, Deadline::CalibrationOverdue);
        self.calibration = Some(RunningCalibration {
            calibration: Calibration::new(transform),
            client,
            sysname,
            name,
            output,
            display,
            transform,
            before,
            finger: None,
            fingers: Vec::new(),
            message: None,
            overdue,
        });
        self.queue_redraw(output);
        self.ipc_calibration(CalibrationState::Target, None, None)
            .ok_or_else(|| failed("the calibration ended at once"))
    }

    /// Returns the display that a device belongs to, if it can show targets.
    fn calibrated_display(&self, sysname: &str) -> Result<(OutputId, String, Transform), Error> {
        let device = self.input.devices.get(sysname);
        let output = device.and_then(|device| self.output_of_device(device));
        let output = output.ok_or_else(|| failed("the display of this touchscreen is off"))?;
        let name = &output.name;
        if output.state().mirror.is_some() {
            return Err(failed(format!("{name} mirrors another display; end that first")));
        }
        if output.state().blanked {
            return Err(failed(format!("{name} is blanked; unblank it first")));
        }
        Ok((output.id, name.clone(), output.state().transform))
    }

    /// Takes an event of the device that is being calibrated. Returns whether it is one.
    pub(super) fn calibration_event(&mut self, event: &InputEvent<LibinputInputBackend>) -> bool {
        let Some(running) = &mut self.calibration else { return false };
        let sysname = running.sysname.clone();
        let is_own = |device: smithay::reexports::input::Device| device.sysname() == sysname;
        match event {
            InputEvent::TouchDown { event } if is_own(event.device()) => {
                if running.fingers.len() < MAX_FINGERS {
                    running.fingers.push(event.seat_slot());
                }
                self.calibration_down(Some(event.seat_slot()), fractions(event));
            }
            InputEvent::TouchMotion { event } if running.fingers.contains(&event.seat_slot()) => {
                self.calibration_moved(Some(event.seat_slot()), fractions(event));
            }
            InputEvent::TouchUp { event } if running.lift(event.seat_slot()) => {
                self.calibration_up(Some(event.seat_slot()));
            }
            InputEvent::TouchCancel { event } if running.lift(event.seat_slot()) => {
                running.finger.take_if(|(finger, ..)| *finger == Some(event.seat_slot()));
            }
            InputEvent::TabletToolTip { event } if is_own(event.device()) => {
                match TabletToolTipEvent::tip_state(event) {
                    TabletToolTipState::Down => self.calibration_down(None, fractions(event)),
                    TabletToolTipState::Up => self.calibration_up(None),
                }
            }
            InputEvent::TabletToolAxis { event } if is_own(event.device()) => {
                self.calibration_moved(None, fractions(event));
            }
            InputEvent::TabletToolProximity { event } if is_own(event.device()) => {}
            InputEvent::TabletToolButton { event } if is_own(event.device()) => {}
            _ => return false,
        }
        true
    }

    /// A finger, or a pen without a number, touches the screen.
    pub fn calibration_down(&mut self, finger: Option<u32>, at: Fractions) {
        // On a display that is blanked, no one saw the target.
        if self.activity() {
            return;
        }
        let Some(running) = &mut self.calibration else { return };
        // Further fingers do not count.
        running.finger.get_or_insert((finger, at, at));
    }

    fn calibration_moved(&mut self, finger: Option<u32>, to: Fractions) {
        let Some(running) = &mut self.calibration else { return };
        if let Some((_, _, at)) = running.finger.as_mut().filter(|(known, ..)| *known == finger) {
            *at = to;
        }
    }

    /// The finger that touched is lifted: that is a touch of the target.
    pub fn calibration_up(&mut self, finger: Option<u32>) {
        let Some(running) = &mut self.calibration else { return };
        let Some((_, down, up)) = running.finger.take_if(|(known, ..)| *known == finger) else { return };
        let outcome = running.calibration.touched(down, up);
        let at = Duration::from(self.clock.now()) + TOUCH_TIMEOUT;
        self.timers.cancel(running.overdue);
        running.overdue = self.timers.at(at, Deadline::CalibrationOverdue);
        match outcome {
            Outcome::Next(again) => {
                running.message = again.map(message);
                let (output, message) = (running.output, running.message);
                self.queue_redraw(output);
                self.publish_calibration(CalibrationState::Target, message, None);
            }
            Outcome::Finished(matrix) => self.finish_calibration(matrix),
            Outcome::Failed => self.end_calibration("the touches do not fit together"),
        }
    }

    fn finish_calibration(&mut self, matrix: Matrix) {
        let Some(running) = &self.calibration else { return };
        let (sysname, name) = (running.sysname.clone(), running.name.clone());
        if let Err(error) = self.input.set_calibration(&sysname, matrix) {
            self.end_calibration(&error);
            return;
        }
        info!(device = name, ?matrix, "calibrated");
        self.input.keep_calibration(&sysname, matrix, &self.config);
        self.publish_calibration(CalibrationState::Finished, None, Some(matrix));
        self.drop_calibration();
    }

    /// Ends the calibration without a result.
    pub(super) fn end_calibration(&mut self, why: &str) {
        let Some(running) = &self.calibration else { return };
        info!(device = running.name, why, "calibration ended");
        // The device may be gone.
        let _ = self.input.set_calibration(&running.sysname, running.before);
        self.publish_calibration(CalibrationState::Ended, Some(why), None);
        self.drop_calibration();
    }

    fn drop_calibration(&mut self) {
        if let Some(running) = self.calibration.take() {
            self.timers.cancel(running.overdue);
            self.queue_redraw(running.output);
        }
    }

    /// A control client is gone.
    pub(super) fn calibration_client_gone(&mut self, client: ClientId) {
        if self.calibration.as_ref().is_some_and(|running| running.client == client) {
            self.end_calibration("the program that began it is gone");
        }
    }

    /// A device is gone.
    pub(super) fn calibration_device_gone(&mut self, sysname: &str) {
        if self.calibration.as_ref().is_some_and(|running| running.sysname == sysname) {
            self.end_calibration("the device is gone");
        }
    }

    /// Displays may have changed: ends the calibration if its display is not as it was.
    pub(super) fn check_calibration(&mut self) {
        let Some(running) = &self.calibration else { return };
        let is_same = self
            .calibrated_display(&running.sysname)
            .is_ok_and(|(output, _, transform)| output == running.output && transform == running.transform);
        if !is_same {
            self.end_calibration("its display has changed");
        }
    }

    /// Nothing was touched for a long time.
    pub fn calibration_overdue(&mut self) {
        self.end_calibration("nothing was touched for 60 seconds");
    }

    /// Returns what an output shows of a calibration.
    pub(super) fn calibration_on(&self, id: OutputId, size: Size<i32, Physical>) -> Option<CalibrationInfo> {
        let running = self.calibration.as_ref().filter(|running| running.output == id)?;
        Some(CalibrationInfo {
            target: running.calibration.target(),
            number: running.calibration.number(),
            targets: TOUCHES,
            message: running.message,
            size: (size.w, size.h),
        })
    }

    fn ipc_calibration(
        &self,
        state: CalibrationState,
        message: Option<&str>,
        matrix: Option<Matrix>,
    ) -> Option<geom_ipc::Calibration> {
        let running = self.calibration.as_ref()?;
        Some(geom_ipc::Calibration {
            sysname: running.sysname.clone(),
            name: running.name.clone(),
            display: running.display.clone(),
            state,
            target: u32::try_from(running.calibration.number()).unwrap_or_default(),
            targets: TOUCHES as u32,
            message: message.map(str::to_owned),
            matrix,
        })
    }

    fn publish_calibration(
        &mut self,
        state: CalibrationState,
        message: Option<&str>,
        matrix: Option<Matrix>,
    ) {
        if let Some(calibration) = self.ipc_calibration(state, message, matrix) {
            self.publish_event(&IpcEvent::Calibration { calibration });
        }
    }
}
