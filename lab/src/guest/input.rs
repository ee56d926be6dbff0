//! Input devices through uinput, which the kernel presents as real evdev devices.

use anyhow::{Context, Result};
use evdev::uinput::VirtualDevice;
use evdev::{
    AbsInfo, AbsoluteAxisCode as Abs, AttributeSet, KeyCode, PropType, RelativeAxisCode as Rel, SwitchCode,
    UinputAbsSetup,
};
use geom_lab::protocol::{InputEvent, InputKind, TOUCH_MAX};

use crate::Guest;

pub fn create(guest: &Guest, kind: InputKind, name: &str) -> Result<()> {
    let builder = VirtualDevice::builder().context("/dev/uinput")?.name(name);
    let device = match kind {
        InputKind::Keyboard => {
            let mut keys = AttributeSet::<KeyCode>::new();
            (1..=248).map(KeyCode::new).for_each(|key| keys.insert(key));
            builder.with_keys(&keys)?.build()
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
        InputKind::Touch => {
            let keys: AttributeSet<_> = [KeyCode::BTN_TOUCH].into_iter().collect();
            let direct: AttributeSet<_> = [PropType::DIRECT].into_iter().collect();
            let area = |axis| UinputAbsSetup::new(axis, AbsInfo::new(0, 0, TOUCH_MAX, 0, 0, 100));
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
    }
    .with_context(|| format!("create the input device {name}"))?;
    devices(guest).insert(name.to_owned(), device);
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
