//! linux-dmabuf: how many buffers, and buffers that are being made, there are. Each has up to four
//! descriptors. What a client says of a buffer is checked when it is imported.

use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_buffer_params_v1::ZwpLinuxBufferParamsV1;
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_feedback_v1::ZwpLinuxDmabufFeedbackV1;
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_v1::{
    self, ZwpLinuxDmabufV1,
};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::{delegate_dispatch, delegate_global_dispatch};
use smithay::wayland::dmabuf::{
    DmabufData, DmabufFeedbackData, DmabufGlobalData, DmabufParamsData, DmabufState,
};

use super::guard;
use crate::clients::objects::Counted;
use crate::compositor::State;

guard!(ZwpLinuxDmabufV1, DmabufData => DmabufState, creates zwp_linux_dmabuf_v1::Request::CreateParams => Counted::Buffer);
guard!(ZwpLinuxBufferParamsV1, DmabufParamsData => DmabufState; counted Counted::Buffer);
guard!(WlBuffer, Dmabuf => DmabufState; counted Counted::Buffer);
delegate_global_dispatch!(State: [ZwpLinuxDmabufV1: DmabufGlobalData] => DmabufState);
delegate_dispatch!(State: [ZwpLinuxDmabufFeedbackV1: DmabufFeedbackData] => DmabufState);
