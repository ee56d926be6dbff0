//! pointer-gestures: how many objects there are. Each of a client's gets the events of all its
//! gestures.

use smithay::reexports::wayland_protocols::wp::pointer_gestures::zv1::server::zwp_pointer_gesture_hold_v1::ZwpPointerGestureHoldV1;
use smithay::reexports::wayland_protocols::wp::pointer_gestures::zv1::server::zwp_pointer_gesture_pinch_v1::ZwpPointerGesturePinchV1;
use smithay::reexports::wayland_protocols::wp::pointer_gestures::zv1::server::zwp_pointer_gesture_swipe_v1::ZwpPointerGestureSwipeV1;
use smithay::reexports::wayland_protocols::wp::pointer_gestures::zv1::server::zwp_pointer_gestures_v1::{
    Request, ZwpPointerGesturesV1,
};
use smithay::reexports::wayland_server::delegate_global_dispatch;
use smithay::wayland::pointer_gestures::{PointerGestureUserData, PointerGesturesState};

use super::guard;
use crate::clients::objects::Counted;
use crate::compositor::State;

type Data = PointerGestureUserData<State>;

guard!(
    ZwpPointerGesturesV1, () => PointerGesturesState,
    creates Request::GetSwipeGesture => Counted::Gesture,
    Request::GetPinchGesture => Counted::Gesture,
    Request::GetHoldGesture => Counted::Gesture
);
guard!(ZwpPointerGestureSwipeV1, Data => PointerGesturesState; counted Counted::Gesture);
guard!(ZwpPointerGesturePinchV1, Data => PointerGesturesState; counted Counted::Gesture);
guard!(ZwpPointerGestureHoldV1, Data => PointerGesturesState; counted Counted::Gesture);
delegate_global_dispatch!(State: [ZwpPointerGesturesV1: ()] => PointerGesturesState);
