//! xdg-shell: parents of popups, how many windows and popups there are, and sizes and places that
//! are negative or too large to be added, which Smithay takes.

use std::sync::Mutex;

use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_popup::XdgPopup;
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_positioner::{self, XdgPositioner};
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_surface::{self, XdgSurface};
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_toplevel::{self, XdgToplevel};
use smithay::reexports::wayland_protocols::xdg::shell::server::xdg_wm_base::{self, XdgWmBase};
use smithay::reexports::wayland_server::{delegate_global_dispatch, Client, Resource, Weak};
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::xdg::{
    PopupSurface, XdgPositionerUserData, XdgShellState, XdgShellSurfaceUserData, XdgSurfaceUserData,
    XdgWmBaseUserData,
};

use super::{can_be_added, guard, Checked, Refused, MAX_COORDINATE};
use crate::clients::objects::Counted;
use crate::compositor::State;
use crate::shell::popups::{popup_root, PopupError};

/// The xdg_wm_base that an xdg_surface of this surface was created by, which gets its errors.
#[derive(Default)]
struct WmBase(Mutex<Option<Weak<XdgWmBase>>>);

fn check_wm_base(
    _state: &mut State,
    _client: &Client,
    wm_base: &XdgWmBase,
    request: &xdg_wm_base::Request,
    _data: &XdgWmBaseUserData,
) -> Checked {
    if let xdg_wm_base::Request::GetXdgSurface { surface, .. } = request {
        with_states(surface, |states| {
            let WmBase(known) = states.data_map.get_or_insert_threadsafe(WmBase::default);
            *known.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(wm_base.downgrade());
        });
    }
    Ok(())
}

fn check_xdg_surface(
    _state: &mut State,
    _client: &Client,
    xdg_surface: &XdgSurface,
    request: &xdg_surface::Request,
    _data: &XdgSurfaceUserData,
) -> Checked {
    match request {
        xdg_surface::Request::SetWindowGeometry { width, height, .. } if *width < 1 || *height < 1 => {
            xdg_surface.post_error(xdg_surface::Error::InvalidSize, "the window geometry is empty");
            Err(Refused)
        }
        xdg_surface::Request::SetWindowGeometry { x, y, width, height }
            if !can_be_added(&[*x, *y, *width, *height]) =>
        {
            xdg_surface.post_error(xdg_surface::Error::InvalidSize, "the window geometry is too large");
            Err(Refused)
        }
        _ => Ok(()),
    }
}

fn check_toplevel(
    _state: &mut State,
    _client: &Client,
    toplevel: &XdgToplevel,
    request: &xdg_toplevel::Request,
    _data: &XdgShellSurfaceUserData,
) -> Checked {
    match request {
        xdg_toplevel::Request::SetMinSize { width, height }
        | xdg_toplevel::Request::SetMaxSize { width, height }
            if *width < 0 || *height < 0 =>
        {
            toplevel.post_error(xdg_toplevel::Error::InvalidSize, "a minimum or maximum is negative");
            Err(Refused)
        }
        _ => Ok(()),
    }
}

fn check_positioner(
    _state: &mut State,
    _client: &Client,
    positioner: &XdgPositioner,
    request: &xdg_positioner::Request,
    _data: &XdgPositionerUserData,
) -> Checked {
    let is_in_range = match request {
        xdg_positioner::Request::SetParentSize { parent_width, parent_height }
            if *parent_width < 0 || *parent_height < 0 =>
        {
            positioner.post_error(xdg_positioner::Error::InvalidInput, "the parent's size is negative");
            return Err(Refused);
        }
        xdg_positioner::Request::SetParentSize { parent_width, parent_height } => {
            can_be_added(&[*parent_width, *parent_height])
        }
        xdg_positioner::Request::SetSize { width, height } => can_be_added(&[*width, *height]),
        xdg_positioner::Request::SetAnchorRect { x, y, width, height } => {
            can_be_added(&[*x, *y, *width, *height])
        }
        xdg_positioner::Request::SetOffset { x, y } => can_be_added(&[*x, *y]),
        _ => true,
    };
    if !is_in_range {
        let message = format!("a place or size is beyond {MAX_COORDINATE} pixels");
        positioner.post_error(xdg_positioner::Error::InvalidInput, message);
        return Err(Refused);
    }
    Ok(())
}

/// Checks the parents of a new popup. Returns whether it may be used; if not, an error has been
/// posted. A popup without a parent gets one by another protocol, before it is mapped.
pub fn check_popup_parents(popup: &PopupSurface) -> bool {
    let surface = popup.wl_surface();
    let cause = match popup_root(surface) {
        Ok(_) | Err(PopupError::NoParent) => return true,
        Err(error) => error.to_string(),
    };
    post_wm_base_error(popup, xdg_wm_base::Error::InvalidPopupParent, &cause);
    false
}

/// Ends the client of a popup with an error of xdg_wm_base.
pub fn post_wm_base_error(popup: &PopupSurface, error: xdg_wm_base::Error, cause: &str) {
    let wm_base = with_states(popup.wl_surface(), |states| {
        let WmBase(known) = states.data_map.get::<WmBase>()?;
        known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_ref()?.upgrade().ok()
    });
    match wm_base {
        Some(wm_base) => wm_base.post_error(error, cause),
        None => popup.xdg_popup().post_error(error, cause),
    }
}

guard!(XdgWmBase, XdgWmBaseUserData => XdgShellState, check check_wm_base);
guard!(XdgSurface, XdgSurfaceUserData => XdgShellState, check check_xdg_surface,
    creates xdg_surface::Request::GetToplevel => Counted::Window, xdg_surface::Request::GetPopup => Counted::Popup);
guard!(XdgToplevel, XdgShellSurfaceUserData => XdgShellState, check check_toplevel; counted Counted::Window);
guard!(XdgPositioner, XdgPositionerUserData => XdgShellState, check check_positioner);
guard!(XdgPopup, XdgShellSurfaceUserData => XdgShellState; counted Counted::Popup);
delegate_global_dispatch!(State: [XdgWmBase: ()] => XdgShellState);
