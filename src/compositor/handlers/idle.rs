//! ext-idle-notify tells programs that nobody is there; zwp_idle_inhibit has them hold off that displays go dark.
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

use crate::power::IdleTimer;
use crate::compositor::State;

pub const NOTIFIER_VERSION: u32 = 2;

/// Both globals.
pub struct Global;

struct Notification {
    object: ExtIdleNotificationV1,
    watch: IdleTimer,
    /// What the client was told last.
    told: bool,
}

/// Programs that want to know, and programs that hold it off.
#[derive(Default)]
pub struct IdleProtocols {
    notifications: Vec<Notification>,
    inhibitors: Vec<(ZwpIdleInhibitorV1, WlSurface)>,
}

impl IdleProtocols {
    pub fn watches(&self) -> impl Iterator<Item = &IdleTimer> {
        self.notifications.iter().map(|notification| &notification.watch)
    }

    pub fn watches_mut(&mut self) -> impl Iterator<Item = &mut IdleTimer> {
        self.notifications.iter_mut().map(|notification| &mut notification.watch)
    }

    /// Tells each program what it has not heard yet.
    pub fn tell(&mut self) {
        for Notification { object, watch, told } in &mut self.notifications {
            if std::mem::replace(told, watch.idle) != watch.idle {
                match watch.idle {
                    true => object.idled(),
                    false => object.resumed(),
                }
            }
        }
    }
}

impl State {
    /// A program that can be seen does not want displays to go dark.
    pub fn is_held_off(&self) -> bool {
        self.protocols.idle.inhibitors.iter().any(|(_, surface)| {
            surface.is_alive()
                && self.output_of(surface).is_some() && self.shell.is_visible(surface)
        })
    }

    fn cease(&mut self, inhibitor: &ZwpIdleInhibitorV1) {
        let held = self.is_held_off();
        self.protocols.idle.inhibitors.retain(|(known, _)| known != inhibitor);
        if held {
            // The time counts from here.
            let now = self.iteration_start();
            self.power.hold_idleness(now);
            self.watch_idle();
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
        _: &Client,
        _: &ExtIdleNotifierV1,
        request: ext_idle_notifier_v1::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let (id, timeout, yields) = match request {
            ext_idle_notifier_v1::Request::GetIdleNotification { id, timeout, .. } => (id, timeout, true),
            ext_idle_notifier_v1::Request::GetInputIdleNotification { id, timeout, .. } => {
                (id, timeout, false)
            }
            _ => return,
        };
        let object = init.init(id, ());
        let watch = IdleTimer::new(Duration::from_millis(timeout.into()), yields);
        state.protocols.idle.notifications.push(Notification { object, watch, told: false });
        state.watch_idle();
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

    fn destroyed(state: &mut Self, _: ClientId, gone: &ExtIdleNotificationV1, (): &()) {
        state.protocols.idle.notifications.retain(|notification| notification.object != *gone);
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
        _: &Client,
        _: &ZwpIdleInhibitManagerV1,
        request: zwp_idle_inhibit_manager_v1::Request,
        (): &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let zwp_idle_inhibit_manager_v1::Request::CreateInhibitor { id, surface } = request else { return };
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

    fn destroyed(state: &mut Self, _: ClientId, gone: &ZwpIdleInhibitorV1, (): &()) {
        state.cease(gone);
    }
}
