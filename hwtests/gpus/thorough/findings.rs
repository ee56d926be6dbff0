//! Known faults, each ignored with its rank in the list of findings until it is fixed.

use anyhow::Result;
use geom_lab::qemu::{Device, Suite};

use crate::gpus::rig::RunningRig;
use crate::support::RED;

/// A udmabuf has the format and the linear modifier that the service offers, and virtio-gpu cannot
/// import it.
#[test]
#[ignore = "rank 2: a dma-buf that the GPU cannot import ends its client"]
fn dmabuf_of_memory_is_shown_by_virgl() -> Result<()> {
    let rig = RunningRig::new(Suite::Sid, &[Device::VirtioGpuGl])?;
    rig.service.client("dmabuf", &["--fullscreen", "--buffer", "dmabuf"])?;
    rig.wait_for_color(0, 0, RED)?;
    rig.service.end()
}
