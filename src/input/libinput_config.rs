//! Applies settings to libinput's devices, and reads them back.

use geom_ipc::InputSettings;
use smithay::reexports::input::{
    ffi, AccelProfile, AsRaw, ClickMethod as LibinputClick, Device, DeviceConfigError, DeviceConfigResult,
    ScrollButtonLockState, ScrollMethod as LibinputScroll, SendEventsMode, TapButtonMap,
};
use tracing::debug;

use super::settings::{Refusal, Setting, Settings, Source};
use crate::config::{ClickMethod, Enabled, ScrollMethod, TapButtons};

/// A device, and the settings that it refused so far.
struct Configuring<'a> {
    device: &'a mut Device,
    refused: Vec<Refusal>,
}

impl Configuring<'_> {
    fn refuse<T>(&mut self, name: &'static str, setting: &Setting<T>, reason: String) {
        match setting.source {
            Source::Entry(_) | Source::Calibrated => self.refused.push(Refusal { setting: name, reason }),
            // It is for all devices, whatever they have.
            Source::Pointer => debug!(device = self.device.sysname(), name, reason, "setting does not apply"),
        }
    }

    /// Sets a value, or the device's default if none is configured: an earlier configuration may
    /// have changed it. `choices` names the values that the device has, if there are few.
    fn set<T: Copy>(
        &mut self,
        name: &'static str,
        setting: &Option<Setting<T>>,
        is_available: bool,
        choices: &[&'static str],
        default: impl FnOnce(&Device) -> Option<T>,
        set: impl Fn(&mut Device, T) -> DeviceConfigResult,
    ) {
        if !is_available {
            if let Some(setting) = setting {
                self.refuse(name, setting, "the device does not have this setting".into());
            }
            return;
        }
        if let Some(setting) = setting {
            match set(self.device, setting.value) {
                Ok(()) => return,
                Err(error) => {
                    let why = match error {
                        DeviceConfigError::Unsupported => "the device does not support this value",
                        DeviceConfigError::Invalid => "libinput does not accept this value",
                    };
                    let reason = match choices {
                        [] => why.to_owned(),
                        choices => format!("{why}; it has {}", choices.join(", ")),
                    };
                    self.refuse(name, setting, reason);
                }
            }
        }
        if let Some(default) = default(self.device) {
            let _ = set(self.device, default);
        }
    }
}

/// Sets all settings of a device. Returns those of entries that do not apply.
pub fn apply(device: &mut Device, settings: &Settings) -> Vec<Refusal> {
    let mut all = Configuring { device, refused: Vec::new() };
    apply_pointing(&mut all, settings);
    apply_scrolling(&mut all, settings);
    apply_touchpad(&mut all, settings);
    let device = &*all.device;
    let is_available = device.config_rotation_is_available();
    all.set(
        "rotation",
        &settings.rotation,
        is_available,
        &[],
        |device| Some(device.config_rotation_default_angle()),
        |device, angle| device.config_rotation_set_angle(angle),
    );
    let is_available = all.device.config_calibration_has_matrix();
    // Without a default in udev the function fails, and the matrix is the identity.
    let identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    all.set(
        "calibration",
        &settings.calibration,
        is_available,
        &[],
        |device| Some(device.config_calibration_default_matrix().unwrap_or(identity)),
        |device, matrix| device.config_calibration_set_matrix(matrix),
    );
    // Last: a device that is disabled may have closed its descriptor.
    let modes = all.device.config_send_events_modes();
    all.set(
        "enabled",
        &settings.enabled,
        true,
        &enabled_choices(modes),
        |_| Some(Enabled::Always),
        |device, enabled| device.config_send_events_set_mode(send_events_mode(enabled)),
    );
    all.refused
}

fn apply_pointing(all: &mut Configuring<'_>, settings: &Settings) {
    let is_available = all.device.config_accel_is_available();
    all.set(
        "speed",
        &settings.speed,
        is_available,
        &[],
        |device| Some(device.config_accel_default_speed()),
        |device, speed| device.config_accel_set_speed(speed),
    );
    let profile = |is_accelerated| if is_accelerated { AccelProfile::Adaptive } else { AccelProfile::Flat };
    all.set(
        "accelerated",
        &settings.accelerated,
        is_available,
        &[],
        |device| device.config_accel_default_profile().map(|profile| profile == AccelProfile::Adaptive),
        |device, is_accelerated| device.config_accel_set_profile(profile(is_accelerated)),
    );
    let is_available = all.device.config_left_handed_is_available();
    all.set(
        "left_handed",
        &settings.left_handed,
        is_available,
        &[],
        |device| Some(device.config_left_handed_default()),
        |device, is_left_handed| device.config_left_handed_set(is_left_handed),
    );
    let is_available = all.device.config_middle_emulation_is_available();
    all.set(
        "middle_emulation",
        &settings.middle_emulation,
        is_available,
        &[],
        |device| Some(device.config_middle_emulation_default_enabled()),
        |device, is_on| device.config_middle_emulation_set_enabled(is_on),
    );
}

fn apply_scrolling(all: &mut Configuring<'_>, settings: &Settings) {
    let is_available = all.device.config_scroll_has_natural_scroll();
    all.set(
        "natural_scroll",
        &settings.natural_scroll,
        is_available,
        &[],
        |device| Some(device.config_scroll_default_natural_scroll_enabled()),
        |device, is_on| device.config_scroll_set_natural_scroll_enabled(is_on),
    );
    let methods = all.device.config_scroll_methods();
    let choices: Vec<_> = methods.iter().map(|method| scroll_method(*method).into()).collect();
    let is_available = methods.iter().any(|method| *method != LibinputScroll::NoScroll);
    all.set(
        "scroll_method",
        &settings.scroll_method,
        is_available,
        &choices,
        |device| device.config_scroll_default_method().map(scroll_method),
        |device, method| device.config_scroll_set_method(libinput_scroll_method(method)),
    );
    let is_available = methods.contains(&LibinputScroll::OnButtonDown);
    all.set(
        "scroll_button",
        &settings.scroll_button,
        is_available,
        &[],
        |device| Some(device.config_scroll_default_button()),
        |device, button| device.config_scroll_set_button(button),
    );
    let lock = |is_on| if is_on { ScrollButtonLockState::Enabled } else { ScrollButtonLockState::Disabled };
    all.set(
        "scroll_button_lock",
        &settings.scroll_button_lock,
        is_available,
        &[],
        |device| Some(device.config_scroll_default_button_lock() == ScrollButtonLockState::Enabled),
        |device, is_on| device.config_scroll_set_button_lock(lock(is_on)),
    );
}

fn apply_touchpad(all: &mut Configuring<'_>, settings: &Settings) {
    let has_taps = all.device.config_tap_finger_count() > 0;
    all.set(
        "tap_to_click",
        &settings.tap_to_click,
        has_taps,
        &[],
        |device| Some(device.config_tap_default_enabled()),
        |device, is_on| device.config_tap_set_enabled(is_on),
    );
    all.set(
        "tap_drag",
        &settings.tap_drag,
        has_taps,
        &[],
        |device| Some(device.config_tap_default_drag_enabled()),
        |device, is_on| device.config_tap_set_drag_enabled(is_on),
    );
    all.set(
        "drag_lock",
        &settings.drag_lock,
        has_taps,
        &[],
        |device| Some(default_drag_lock(device)),
        |device, is_on| device.config_tap_set_drag_lock_enabled(is_on),
    );
    all.set(
        "tap_buttons",
        &settings.tap_buttons,
        has_taps,
        &[],
        |device| device.config_tap_default_button_map().map(tap_buttons),
        |device, buttons| device.config_tap_set_button_map(button_map(buttons)),
    );
    let methods = all.device.config_click_methods();
    let choices: Vec<_> = methods.iter().map(|method| click_method(*method).into()).collect();
    all.set(
        "click_method",
        &settings.click_method,
        !methods.is_empty(),
        &choices,
        |device| Some(device.config_click_default_method().map_or(ClickMethod::None, click_method)),
        set_click_method,
    );
    let is_available = all.device.config_dwt_is_available();
    all.set(
        "disable_while_typing",
        &settings.disable_while_typing,
        is_available,
        &[],
        |device| Some(device.config_dwt_default_enabled()),
        |device, is_on| device.config_dwt_set_enabled(is_on),
    );
}

/// Returns the settings that a device has, with their present values.
pub fn read(device: &Device) -> InputSettings {
    let name = |name: &'static str| Some(name.to_owned());
    let if_available = |is_available: bool, value: bool| is_available.then_some(value);
    let is_accelerated = device.config_accel_is_available();
    let methods = device.config_scroll_methods();
    let scrolls = methods.iter().any(|method| *method != LibinputScroll::NoScroll);
    let has_button = methods.contains(&LibinputScroll::OnButtonDown);
    let has_taps = device.config_tap_finger_count() > 0;
    let has_clicks = !device.config_click_methods().is_empty();
    let mode = device.config_send_events_mode();
    let enabled = match mode {
        mode if mode.contains(SendEventsMode::DISABLED) => Enabled::Never,
        mode if mode.contains(SendEventsMode::DISABLED_ON_EXTERNAL_MOUSE) => Enabled::NoExternalMouse,
        _ => Enabled::Always,
    };
    InputSettings {
        enabled: name(enabled.into()),
        speed: is_accelerated.then(|| device.config_accel_speed()),
        accelerated: device.config_accel_profile().map(|profile| profile == AccelProfile::Adaptive),
        natural_scroll: if_available(
            device.config_scroll_has_natural_scroll(),
            device.config_scroll_natural_scroll_enabled(),
        ),
        scroll_factor: None,
        scroll_method: device
            .config_scroll_method()
            .filter(|_| scrolls)
            .and_then(|method| name(scroll_method(method).into())),
        scroll_button: has_button.then(|| device.config_scroll_button()),
        scroll_button_lock: has_button
            .then(|| device.config_scroll_button_lock() == ScrollButtonLockState::Enabled),
        tap_to_click: if_available(has_taps, device.config_tap_enabled()),
        tap_drag: if_available(has_taps, device.config_tap_drag_enabled()),
        drag_lock: has_taps.then(|| device.config_tap_drag_lock_enabled()),
        tap_buttons: device.config_tap_button_map().and_then(|map| name(tap_buttons(map).into())),
        click_method: has_clicks
            .then(|| device.config_click_method().map_or(ClickMethod::None, click_method))
            .and_then(|method| name(method.into())),
        left_handed: if_available(device.config_left_handed_is_available(), device.config_left_handed()),
        middle_emulation: if_available(
            device.config_middle_emulation_is_available(),
            device.config_middle_emulation_enabled(),
        ),
        disable_while_typing: if_available(device.config_dwt_is_available(), device.config_dwt_enabled()),
        rotation: device.config_rotation_is_available().then(|| device.config_rotation_angle()),
        calibration: device
            .config_calibration_matrix()
            .filter(|_| device.config_calibration_has_matrix())
            .map(|matrix| matrix.map(as_written)),
        ..InputSettings::default()
    }
}

/// Returns a number as it is written, without the digits that it gets with twice the precision.
fn as_written(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| number.into())
}

/// Returns whether drag lock is on by default. Not by the binding's function: that panics at the
/// third state, `LIBINPUT_CONFIG_DRAG_LOCK_ENABLED_STICKY` of libinput 1.27.
fn default_drag_lock(device: &Device) -> bool {
    // SAFETY: the device's reference is valid, and the function only reads it.
    unsafe { ffi::libinput_device_config_tap_get_default_drag_lock_enabled(device.as_raw_mut()) != 0 }
}

/// Sets a click method. The binding has none for "none".
fn set_click_method(device: &mut Device, method: ClickMethod) -> DeviceConfigResult {
    let method = match method {
        ClickMethod::ButtonAreas => LibinputClick::ButtonAreas,
        ClickMethod::Clickfinger => LibinputClick::Clickfinger,
        ClickMethod::None => {
            let none = ffi::libinput_config_click_method_LIBINPUT_CONFIG_CLICK_METHOD_NONE;
            // SAFETY: the device's reference is valid, and the value is one of the enum's.
            let status = unsafe { ffi::libinput_device_config_click_set_method(device.as_raw_mut(), none) };
            let succeeded = ffi::libinput_config_status_LIBINPUT_CONFIG_STATUS_SUCCESS;
            return if status == succeeded { Ok(()) } else { Err(DeviceConfigError::Unsupported) };
        }
    };
    device.config_click_set_method(method)
}

fn send_events_mode(enabled: Enabled) -> SendEventsMode {
    match enabled {
        Enabled::Always => SendEventsMode::ENABLED,
        Enabled::Never => SendEventsMode::DISABLED,
        Enabled::NoExternalMouse => SendEventsMode::DISABLED_ON_EXTERNAL_MOUSE,
    }
}

fn enabled_choices(modes: SendEventsMode) -> Vec<&'static str> {
    let all = [Enabled::Always, Enabled::Never, Enabled::NoExternalMouse];
    all.into_iter().filter(|one| modes.contains(send_events_mode(*one))).map(Into::into).collect()
}

fn scroll_method(method: LibinputScroll) -> ScrollMethod {
    match method {
        LibinputScroll::TwoFinger => ScrollMethod::TwoFinger,
        LibinputScroll::Edge => ScrollMethod::Edge,
        LibinputScroll::OnButtonDown => ScrollMethod::Button,
        _ => ScrollMethod::None,
    }
}

fn libinput_scroll_method(method: ScrollMethod) -> LibinputScroll {
    match method {
        ScrollMethod::None => LibinputScroll::NoScroll,
        ScrollMethod::TwoFinger => LibinputScroll::TwoFinger,
        ScrollMethod::Edge => LibinputScroll::Edge,
        ScrollMethod::Button => LibinputScroll::OnButtonDown,
    }
}

fn click_method(method: LibinputClick) -> ClickMethod {
    match method {
        LibinputClick::ButtonAreas => ClickMethod::ButtonAreas,
        LibinputClick::Clickfinger => ClickMethod::Clickfinger,
        _ => ClickMethod::None,
    }
}

fn tap_buttons(map: TapButtonMap) -> TapButtons {
    match map {
        TapButtonMap::LeftMiddleRight => TapButtons::LeftMiddleRight,
        _ => TapButtons::LeftRightMiddle,
    }
}

fn button_map(buttons: TapButtons) -> TapButtonMap {
    match buttons {
        TapButtons::LeftRightMiddle => TapButtonMap::LeftRightMiddle,
        TapButtons::LeftMiddleRight => TapButtonMap::LeftMiddleRight,
    }
}
