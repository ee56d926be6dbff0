//! wl_compositor, wl_subcompositor: how many surfaces there are, and how deep they are nested.

use smithay::reexports::wayland_server::protocol::wl_callback::WlCallback;
use smithay::reexports::wayland_server::protocol::wl_compositor::{self, WlCompositor};
use smithay::reexports::wayland_server::protocol::wl_subcompositor::{self, WlSubcompositor};
use smithay::reexports::wayland_server::protocol::wl_subsurface::{self, WlSubsurface};
use smithay::reexports::wayland_server::protocol::wl_surface::{self, WlSurface};
use smithay::reexports::wayland_server::{delegate_dispatch, delegate_global_dispatch, Client, Resource};
use smithay::wayland::compositor::{
    get_children, get_parent, with_states, CompositorState, SubsurfaceUserData, SurfaceUserData,
};

use super::{can_be_added, guard, Checked, Refused};
use crate::clients::objects::Counted;
use crate::compositor::State;

/// The maximum depth of nested subsurfaces. Smithay walks them recursively, and holds a lock on
/// each level.
const MAX_DEPTH: usize = 64;

/// The maximum number of damaged rectangles of a commit. Further ones only make the whole surface
/// damaged.
const MAX_DAMAGE: u32 = 256;

/// The number of damaged rectangles since the last commit, kept with the surface.
#[derive(Default)]
struct DamageCount(std::sync::atomic::AtomicU32);

/// Returns the depth of the tree of subsurfaces below a surface, 0 without any, and at most `max`.
fn height(surface: &WlSurface, max: usize) -> usize {
    let mut level = vec![surface.clone()];
    for height in 0..max {
        level = level.iter().flat_map(get_children).collect();
        if level.is_empty() {
            return height;
        }
    }
    max
}

/// Returns the number of surfaces above a surface, at most `max`.
fn depth(surface: &WlSurface, max: usize) -> usize {
    std::iter::successors(get_parent(surface), get_parent).take(max).count()
}

fn check_subcompositor(
    _state: &mut State,
    _client: &Client,
    subcompositor: &WlSubcompositor,
    request: &wl_subcompositor::Request,
    (): &(),
) -> Checked {
    let wl_subcompositor::Request::GetSubsurface { surface, parent, .. } = request else { return Ok(()) };
    let levels = depth(parent, MAX_DEPTH) + 1 + height(surface, MAX_DEPTH);
    if levels > MAX_DEPTH {
        let message = format!("subsurfaces are nested more than {MAX_DEPTH} levels deep");
        subcompositor.post_error(wl_subcompositor::Error::BadSurface, message);
        return Err(Refused);
    }
    Ok(())
}

/// Nested positions are added up. `place_above` and `place_below` need a sibling or the parent.
/// Smithay takes the surface itself for a sibling, and inserts it past the end of its parent's
/// list.
fn check_subsurface(
    _state: &mut State,
    _client: &Client,
    subsurface: &WlSubsurface,
    request: &wl_subsurface::Request,
    data: &SubsurfaceUserData,
) -> Checked {
    let sibling = match request {
        wl_subsurface::Request::PlaceAbove { sibling } | wl_subsurface::Request::PlaceBelow { sibling } => {
            sibling
        }
        // The protocol has no error for it.
        wl_subsurface::Request::SetPosition { x, y } if !can_be_added(&[*x, *y]) => return Err(Refused),
        _ => return Ok(()),
    };
    // A subsurface whose parent was destroyed is inert.
    let parent = data.surface().is_alive().then(|| get_parent(data.surface())).flatten();
    let is_related = parent.is_some_and(|parent| {
        *sibling == parent || (sibling != data.surface() && get_parent(sibling).as_ref() == Some(&parent))
    });
    if !is_related {
        let message = "the reference surface is neither a sibling nor the parent";
        subsurface.post_error(wl_subsurface::Error::BadSurface, message);
        return Err(Refused);
    }
    Ok(())
}

/// Bounds what is kept for a commit.
fn check_surface(
    _state: &mut State,
    _client: &Client,
    surface: &WlSurface,
    request: &wl_surface::Request,
    _data: &SurfaceUserData,
) -> Checked {
    use std::sync::atomic::Ordering::Relaxed;
    let is_damage = match request {
        // Empty; the protocol has no error for it.
        wl_surface::Request::Damage { width, height, .. }
        | wl_surface::Request::DamageBuffer { width, height, .. }
            if *width < 0 || *height < 0 =>
        {
            return Err(Refused);
        }
        wl_surface::Request::Damage { .. } | wl_surface::Request::DamageBuffer { .. } => true,
        wl_surface::Request::Commit => false,
        _ => return Ok(()),
    };
    with_states(surface, |states| {
        let DamageCount(count) = states.data_map.get_or_insert_threadsafe(DamageCount::default);
        if !is_damage {
            count.store(0, Relaxed);
            return Ok(());
        }
        match count.fetch_add(1, Relaxed) {
            0..MAX_DAMAGE => Ok(()),
            MAX_DAMAGE => {
                damage_all(states);
                Err(Refused)
            }
            _ => {
                count.store(MAX_DAMAGE + 1, Relaxed);
                Err(Refused)
            }
        }
    })
}

/// Damages the whole surface, whatever size it will have.
fn damage_all(states: &smithay::wayland::compositor::SurfaceData) {
    use smithay::utils::Rectangle;
    use smithay::wayland::compositor::{Damage, SurfaceAttributes};
    let everything = Rectangle::from_size((i32::MAX, i32::MAX).into());
    let mut attributes = states.cached_state.get::<SurfaceAttributes>();
    attributes.pending().damage.push(Damage::Buffer(everything));
}

guard!(WlCompositor, () => CompositorState, creates wl_compositor::Request::CreateSurface => Counted::Surface);
guard!(WlSubcompositor, () => CompositorState, check check_subcompositor);
guard!(WlSubsurface, SubsurfaceUserData => CompositorState, check check_subsurface);
guard!(WlSurface, SurfaceUserData => CompositorState, check check_surface; counted Counted::Surface);
delegate_global_dispatch!(State: [WlCompositor: ()] => CompositorState);
delegate_global_dispatch!(State: [WlSubcompositor: ()] => CompositorState);
delegate_dispatch!(State: [WlCallback: ()] => CompositorState);
