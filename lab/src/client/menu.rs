//! A popup that takes all input, as menus do: opened by a press or touch, and closed when the
//! compositor dismisses it.

use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{delegate_noop, Connection, Dispatch, QueueHandle};
use wayland_protocols::xdg::shell::client::xdg_popup::{self, XdgPopup};
use wayland_protocols::xdg::shell::client::xdg_positioner::{Gravity, XdgPositioner};
use wayland_protocols::xdg::shell::client::xdg_surface::XdgSurface;

use crate::App;

/// Width and height of a menu.
const SIZE: (i32, i32) = (200, 100);

/// An open menu.
pub struct Menu {
    surface: WlSurface,
    xdg_surface: XdgSurface,
    popup: XdgPopup,
}

impl App {
    /// Opens a menu in the middle of the window, if `--menu` is given and none is open.
    pub fn open_menu(&mut self, serial: u32, queue: &QueueHandle<Self>) {
        if !self.options.menu || self.menu.is_some() {
            return;
        }
        let client = &self.client;
        let (Some(seat), Some(wm_base), Some(window)) = (&self.seat, &client.wm_base, client.windows.first())
        else {
            return;
        };
        let (Some(parent), Ok(surface)) = (&window.toplevel, client.create_surface(queue)) else { return };
        let positioner = wm_base.create_positioner(queue, ());
        positioner.set_size(SIZE.0, SIZE.1);
        positioner.set_anchor_rect(window.size.0 / 2, window.size.1 / 2, 1, 1);
        positioner.set_gravity(Gravity::BottomRight);
        let xdg_surface = wm_base.get_xdg_surface(&surface, queue, None);
        let popup = xdg_surface.get_popup(Some(&parent.xdg_surface), &positioner, queue, ());
        positioner.destroy();
        popup.grab(seat, serial);
        surface.commit();
        self.menu = Some(Menu { surface, xdg_surface, popup });
    }
}

delegate_noop!(App: ignore XdgPositioner);

impl Dispatch<XdgPopup, ()> for App {
    fn event(
        app: &mut Self,
        _: &XdgPopup,
        event: xdg_popup::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            xdg_popup::Event::Configure { .. } => app.print(format_args!("menu configured")),
            xdg_popup::Event::PopupDone => {
                app.print(format_args!("menu dismissed"));
                if let Some(Menu { surface, xdg_surface, popup }) = app.menu.take() {
                    popup.destroy();
                    xdg_surface.destroy();
                    surface.destroy();
                }
            }
            _ => {}
        }
    }
}
