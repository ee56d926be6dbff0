//! Input devices through uinput, which the kernel presents as real evdev devices.

use std::ffi::{c_char, CString};
use std::os::fd::{BorrowedFd, RawFd};

use anyhow::{Context, Result};
use evdev::uinput::VirtualDevice;
use evdev::{
    AbsInfo, AbsoluteAxisCode as Abs, AttributeSet, Device, EventType, KeyCode, LedCode, PropType,
    RelativeAxisCode as Rel, SwitchCode, UinputAbsSetup,
};
use geom_lab::protocol::{InputEvent, InputKind, PRESSURE_MAX, TOUCH_MAX};
use rustix::ioctl::{ioctl, opcode, IntegerSetter};

use crate::Guest;

/// The number of absolute axes (linux/input-event-codes.h).
const ABS_CNT: u16 = 0x40;

/// `UI_SET_EVBIT`, `UI_SET_PHYS` and `UI_SET_LEDBIT` (linux/uinput.h).
const UI_SET_EVBIT: rustix::ioctl::Opcode = opcode::write::<i32>(b'U', 100);
const UI_SET_PHYS: rustix::ioctl::Opcode = opcode::write::<*const c_char>(b'U', 108);
const UI_SET_LEDBIT: rustix::ioctl::Opcode = opcode::write::<i32>(b'U', 105);

/// Returns the descriptor of the device that is being built: the newest of /dev/uinput. evdev's
/// builder hides it.
fn newest_descriptor() -> Result<RawFd> {
    let mut newest: Option<RawFd> = None;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let is_uinput = std::fs::read_link(entry.path()).is_ok_and(|file| file.ends_with("uinput"));
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        newest = newest.max(number.filter(|_| is_uinput));
    }
    newest.context("no descriptor of /dev/uinput")
}

/// Sets the `phys` of the device that is being built. evdev's builder has a call for that, with an
/// ioctl of another size, which the kernel refuses.
fn set_phys(port: &str) -> Result<()> {
    let (newest, port) = (newest_descriptor()?, CString::new(port)?);
    // SAFETY: the builder keeps the descriptor open. The kernel copies the text, up to its NUL.
    unsafe {
        let device = BorrowedFd::borrow_raw(newest);
        let text = IntegerSetter::<UI_SET_PHYS>::new_usize(port.as_ptr() as usize);
        ioctl(device, text).context("UI_SET_PHYS")
    }
}

/// Gives the device that is being built the lamps of a keyboard. evdev's builder has no call for
/// that.
fn add_lamps() -> Result<()> {
    let newest = newest_descriptor()?;
    // SAFETY: the builder keeps it open, and the ioctls take a number each.
    unsafe {
        let device = BorrowedFd::borrow_raw(newest);
        let lamps = usize::from(EventType::LED.0);
        ioctl(device, IntegerSetter::<UI_SET_EVBIT>::new_usize(lamps)).context("UI_SET_EVBIT")?;
        for lamp in [LedCode::LED_NUML, LedCode::LED_CAPSL, LedCode::LED_SCROLLL] {
            let lamp = usize::from(lamp.0);
            ioctl(device, IntegerSetter::<UI_SET_LEDBIT>::new_usize(lamp)).context("UI_SET_LEDBIT")?;
        }
    }
    Ok(())
}

/// Returns the lamps of a keyboard that are on, as `LED_NUML` and so on.
pub fn lamps(guest: &Guest, name: &str) -> Result<Vec<String>> {
    let mut devices = devices(guest);
    let device = devices.get_mut(name).with_context(|| format!("no input device {name}"))?;
    let node = device.enumerate_dev_nodes_blocking()?.next().context("no device node")??;
    let lamps = Device::open(node)?.get_led_state()?;
    Ok(lamps.iter().map(|lamp| format!("{lamp:?}")).collect())
}

/// Returns every absolute axis with the largest range that there is. The kernel allows as many
/// fingers as it has slots, and refuses a maximum below the minimum.
fn all_axes() -> impl Iterator<Item = UinputAbsSetup> {
    let huge = |axis| UinputAbsSetup::new(Abs(axis), AbsInfo::new(0, i32::MIN, i32::MAX, 0, 0, 0));
    let slots = UinputAbsSetup::new(Abs::ABS_MT_SLOT, AbsInfo::new(0, 0, 9, 0, 0, 0));
    let is_slot = |axis: &u16| *axis == Abs::ABS_MT_SLOT.0;
    (0..ABS_CNT).filter(move |axis| !is_slot(axis)).map(huge).chain([slots])
}

pub fn create(guest: &Guest, kind: InputKind, id: &str, name: &str, port: Option<&str>) -> Result<()> {
    let mut devices = devices(guest);
    let bytes = match kind {
        InputKind::HugeTouch => [name.as_bytes(), b"\xff\x1b[2J"].concat(),
        _ => name.as_bytes().to_vec(),
    };
    let builder = VirtualDevice::builder().context("/dev/uinput")?.name(&bytes);
    if let Some(port) = port {
        set_phys(port)?;
    }
    let device = match kind {
        InputKind::Keyboard => {
            let mut keys = AttributeSet::<KeyCode>::new();
            (1..=248).map(KeyCode::new).for_each(|key| keys.insert(key));
            let builder = builder.with_keys(&keys)?;
            add_lamps()?;
            builder.build()
        }
        InputKind::Pointer => {
            let keys: AttributeSet<_> =
                [KeyCode::BTN_LEFT, KeyCode::BTN_RIGHT, KeyCode::BTN_MIDDLE].into_iter().collect();
            let axes: AttributeSet<_> = [Rel::REL_X, Rel::REL_Y, Rel::REL_WHEEL].into_iter().collect();
            builder.with_keys(&keys)?.with_relative_axes(&axes)?.build()
        }
        InputKind::Lid => {
            let switches: AttributeSet<_> = [SwitchCode::SW_LID].into_iter().collect();
            builder.with_switches(&switches)?.build()
        }
        InputKind::HugeTouch | InputKind::AllAxes => {
            let keys: AttributeSet<_> = [KeyCode::BTN_TOUCH].into_iter().collect();
            let direct: AttributeSet<_> = [PropType::DIRECT].into_iter().collect();
            let mut builder = builder.with_keys(&keys)?.with_properties(&direct)?;
            let is_position = |axis: &UinputAbsSetup| axis.code() <= Abs::ABS_Y.0;
            for axis in all_axes().filter(|axis| kind == InputKind::AllAxes || is_position(axis)) {
                builder = builder.with_absolute_axis(&axis)?;
            }
            builder.build()
        }
        InputKind::Touch | InputKind::UnscaledTouch => {
            let resolution = if kind == InputKind::Touch { 100 } else { 0 };
            let keys: AttributeSet<_> = [KeyCode::BTN_TOUCH].into_iter().collect();
            let direct: AttributeSet<_> = [PropType::DIRECT].into_iter().collect();
            let area = |axis| UinputAbsSetup::new(axis, AbsInfo::new(0, 0, TOUCH_MAX, 0, 0, resolution));
            builder
                .with_keys(&keys)?
                .with_properties(&direct)?
                .with_absolute_axis(&area(Abs::ABS_X))?
                .with_absolute_axis(&area(Abs::ABS_Y))?
                .with_absolute_axis(&UinputAbsSetup::new(Abs::ABS_MT_SLOT, AbsInfo::new(0, 0, 9, 0, 0, 0)))?
                .with_absolute_axis(&UinputAbsSetup::new(
                    Abs::ABS_MT_TRACKING_ID,
                    AbsInfo::new(0, 0, 65535, 0, 0, 0),
                ))?
                .with_absolute_axis(&area(Abs::ABS_MT_POSITION_X))?
                .with_absolute_axis(&area(Abs::ABS_MT_POSITION_Y))?
                .build()
        }
        InputKind::Pen => {
            let keys: AttributeSet<_> =
                [KeyCode::BTN_TOOL_PEN, KeyCode::BTN_TOUCH, KeyCode::BTN_STYLUS, KeyCode::BTN_STYLUS2]
                    .into_iter()
                    .collect();
            let direct: AttributeSet<_> = [PropType::DIRECT].into_iter().collect();
            // libinput refuses tablets without a resolution.
            let axis = |axis, min, max, resolution| {
                UinputAbsSetup::new(axis, AbsInfo::new(0, min, max, 0, 0, resolution))
            };
            builder
                .with_keys(&keys)?
                .with_properties(&direct)?
                .with_absolute_axis(&axis(Abs::ABS_X, 0, TOUCH_MAX, 100))?
                .with_absolute_axis(&axis(Abs::ABS_Y, 0, TOUCH_MAX, 100))?
                .with_absolute_axis(&axis(Abs::ABS_PRESSURE, 0, PRESSURE_MAX, 0))?
                .with_absolute_axis(&axis(Abs::ABS_TILT_X, -90, 90, 57))?
                .with_absolute_axis(&axis(Abs::ABS_TILT_Y, -90, 90, 57))?
                .build()
        }
    }
    .with_context(|| format!("create the input device {name}"))?;
    devices.insert(id.to_owned(), device);
    Ok(())
}

fn devices(guest: &Guest) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, VirtualDevice>> {
    guest.inputs.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub fn remove(guest: &Guest, name: &str) -> Result<()> {
    devices(guest).remove(name).map(drop).with_context(|| format!("no input device {name}"))
}

/// Emits events; the host ends each group with a `SYN_REPORT`.
pub fn emit(guest: &Guest, name: &str, events: &[InputEvent]) -> Result<()> {
    let mut devices = devices(guest);
    let device = devices.get_mut(name).with_context(|| format!("no input device {name}"))?;
    for group in events.split_inclusive(|event| event.kind == 0) {
        let group: Vec<_> = group
            .iter()
            .filter(|event| event.kind != 0)
            .map(|event| evdev::InputEvent::new(event.kind, event.code, event.value))
            .collect();
        // `emit` adds the group's SYN_REPORT.
        device.emit(&group)?;
    }
    Ok(())
}
