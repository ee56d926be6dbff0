//! ext-idle-notify: notifies clients when the user is idle. idle-inhibit: a visible surface keeps
//! displays from being blanked, and the user from counting as idle.
//!
//! Source: ext-idle-notify-v1.xml, idle-inhibit-unstable-v1.xml.

use std::time::Duration;

use smithay::reexports::wayland_protocols::ext::idle_notify::v1::server::ext_idle_notification_v1::{
    self, ExtIdleNotificationV1,
};
use smithay::reexports::wayland_protocols::ext::idle_notify::v1::server::ext_idle_notifier_v1::{
    self, ExtIdleNotifierV1,
};
use smithay::reexports::wayland_protocols::wp::idle_inhibit::zv1::server::zwp_idle_inhibit_manager_v1::{
    self, ZwpIdleInhibitManagerV1,
};
use smithay::reexports::wayland_protocols::wp::idle_inhibit::zv1::server::zwp_idle_inhibitor_v1::{
    self, ZwpIdleInhibitorV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource,
};

use crate::clients::objects::Counted;
use crate::compositor::State;
use crate::power::{IdleTimerId, Power};

/// Version 2 adds notifications that ignore inhibitors.
pub const NOTIFIER_VERSION: u32 = 2;

/// The user data of both globals.
pub struct Global;

/// The clients' notifications and inhibitors. [`Power`](crate::power::Power) has the timers.
#[derive(Default)]
pub struct IdleProtocols {
    notifications: Vec<(IdleTimerId, ExtIdleNotificationV1)>,
    inhibitors: Vec<(ZwpIdleInhibitorV1, WlSurface)>,
}

impl IdleProtocols {
    /// Notifies a client that its timer ran out, or that there is input again.
    pub fn notify(&self, timer: IdleTimerId, is_idle: bool) {
        let found = self.notifications.iter().find(|(known, _)| *known == timer);
        let Some((_, notification)) = found else { return };
        match is_idle {
            true => notification.idled(),
            false => notification.resumed(),
        }
    }
}

impl State {
    /// Returns whether a visible surface inhibits idleness.
    pub fn is_idle_inhibited(&self) -> bool {
        self.protocols.idle.inhibitors.iter().any(|(_, surface)| {
            surface.is_alive() && self.output_of(surface).is_some() && self.shell.is_visible(surface)
        })
    }

    fn remove_inhibitor(&mut self, inhibitor: &ZwpIdleInhibitorV1) {
        let was_inhibited = self.is_idle_inhibited();
        self.protocols.idle.inhibitors.retain(|(known, _)| known != inhibitor);
        if was_inhibited {
            let effects = self.with_power(Power::inhibitor_ended);
            self.apply_power(effects);
        }
    }
}

impl GlobalDispatch<ExtIdleNotifierV1, Global> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        notifier: New<ExtIdleNotifierV1>,
        _: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(notifier, ());
    }
}

impl Dispatch<ExtIdleNotifierV1, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        notifier: &ExtIdleNotifierV1,
        request: ext_idle_notifier_v1::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let (id, timeout, is_inhibitable) = match request {
            ext_idle_notifier_v1::Request::GetIdleNotification { id, timeout, .. } => (id, timeout, true),
            ext_idle_notifier_v1::Request::GetInputIdleNotification { id, timeout, .. } => {
                (id, timeout, false)
            }
            _ => return,
        };
        if state.count_object(client, notifier, Counted::IdleNotification).is_err() {
            return;
        }
        let object = init.init(id, ());
        let timeout = Duration::from_millis(timeout.into());
        let (timer, effects) = state.with_power(|power, _| power.add_idle_timer(timeout, is_inhibitable));
        state.protocols.idle.notifications.push((timer, object));
        state.apply_power(effects);
    }
}

impl Dispatch<ExtIdleNotificationV1, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &ExtIdleNotificationV1,
        _: ext_idle_notification_v1::Request,
        (): &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }

    fn destroyed(state: &mut Self, client: ClientId, destroyed: &ExtIdleNotificationV1, (): &()) {
        state.uncount_object(&client, Counted::IdleNotification);
        let notifications = &mut state.protocols.idle.notifications;
        let found = notifications.iter().position(|(_, object)| object == destroyed);
        if let Some(found) = found {
            let (timer, _) = notifications.swap_remove(found);
            state.power.remove_idle_timer(timer);
        }
    }
}

impl GlobalDispatch<ZwpIdleInhibitManagerV1, Global> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<ZwpIdleInhibitManagerV1>,
        _: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(manager, ());
    }
}

impl Dispatch<ZwpIdleInhibitManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        manager: &ZwpIdleInhibitManagerV1,
        request: zwp_idle_inhibit_manager_v1::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let zwp_idle_inhibit_manager_v1::Request::CreateInhibitor { id, surface } = request else { return };
        if state.count_object(client, manager, Counted::Inhibitor).is_err() {
            return;
        }
        let inhibitor = init.init(id, ());
        state.protocols.idle.inhibitors.push((inhibitor, surface));
    }
}

impl Dispatch<ZwpIdleInhibitorV1, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &ZwpIdleInhibitorV1,
        _: zwp_idle_inhibitor_v1::Request,
        (): &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }

    fn destroyed(state: &mut Self, client: ClientId, destroyed: &ZwpIdleInhibitorV1, (): &()) {
        state.uncount_object(&client, Counted::Inhibitor);
        state.remove_inhibitor(destroyed);
    }
}
