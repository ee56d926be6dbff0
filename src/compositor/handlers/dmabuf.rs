//! linux-dmabuf: buffers in GPU memory.

use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::format::get_bpp;
use smithay::backend::allocator::{Buffer, Modifier};
use smithay::backend::renderer::ImportDma;
use smithay::reexports::wayland_server::Resource;
use smithay::utils::Size;
use smithay::wayland::dmabuf::{
    DmabufFeedbackBuilder, DmabufGlobal, DmabufHandler, DmabufState, ImportNotifier,
};
use tracing::{debug, warn};

use crate::clients::objects::Counted;
use crate::compositor::State;
use crate::render::renderer::Renderer;

impl State {
    /// Creates the global with the formats of the primary GPU, once there is one.
    pub fn announce_dmabuf(&mut self) {
        if self.protocols.dmabuf_global.is_some() {
            return;
        }
        let Some(gpu) = self.backend.gpus().next() else { return };
        let feedback = DmabufFeedbackBuilder::new(gpu.device.id(), gpu.renderer.dmabuf_formats()).build();
        match feedback {
            Ok(feedback) => {
                let display = self.display_handle.clone();
                let global =
                    self.protocols.dmabuf.create_global_with_default_feedback::<Self>(&display, &feedback);
                self.protocols.dmabuf_global = Some(global);
            }
            Err(error) => warn!(%error, "cannot offer linux-dmabuf: no memory for its format table"),
        }
    }
}

impl State {
    fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        let gpu = self.backend.gpus_mut().next().ok_or("no GPU")?;
        match &mut gpu.renderer {
            Renderer::Pixman(renderer) => {
                renderer.import_dmabuf(dmabuf, None).map(drop).map_err(|error| error.to_string())
            }
            Renderer::Gles { renderer, .. } => {
                renderer.import_dmabuf(dmabuf, None).map(drop).map_err(|error| error.to_string())
            }
        }
    }
}

/// `f_type` of a dma-buf's descriptor (include/uapi/linux/magic.h, DMA_BUF_MAGIC).
const DMA_BUF_MAGIC: i64 = 0x444d_4142;

/// Checks what a client says of a buffer against the buffer. pixman reads rows of `width` pixels
/// wherever the stride says that they are, and neither it nor Smithay compares the two.
fn check_planes(dmabuf: &Dmabuf) -> Result<(), String> {
    let Size { w: width, h: height, .. } = dmabuf.size();
    if width < 1 || height < 1 {
        return Err(format!("{width}x{height} is no size"));
    }
    let (width, height) = (width as u64, height as u64);
    let format = dmabuf.format();
    // What a row needs is known without a vendor's tiling, and for formats with one plane.
    let row =
        get_bpp(format.code).filter(|_| format.modifier == Modifier::Linear && dmabuf.num_planes() == 1);
    for ((file, offset), stride) in dmabuf.handles().zip(dmabuf.offsets()).zip(dmabuf.strides()) {
        // Another kind of file could shrink while it is mapped.
        let kind = rustix::fs::fstatfs(file).map_err(|error| error.to_string())?.f_type;
        if kind as i64 != DMA_BUF_MAGIC {
            return Err("the file descriptor of a plane is no dma-buf".into());
        }
        let size = rustix::fs::seek(file, rustix::fs::SeekFrom::End(0)).map_err(|error| error.to_string())?;
        if let Some(bits) = row {
            check_rows(width * bits as u64 / 8, height, stride.into(), offset.into(), size)?;
        }
    }
    Ok(())
}

/// Checks that all rows of a plane are in the buffer. All but `height` are in bytes.
fn check_rows(row: u64, height: u64, stride: u64, offset: u64, size: u64) -> Result<(), String> {
    let end = stride * height.saturating_sub(1) + offset + row;
    if height == 0 || row == 0 || row > stride || stride % 4 != 0 || end > size {
        return Err(format!(
            "{height} rows of {row} bytes with a stride of {stride} from {offset} are not in {size} bytes"
        ));
    }
    Ok(())
}

impl DmabufHandler for State {
    fn dmabuf_state(&mut self) -> &mut DmabufState {
        &mut self.protocols.dmabuf
    }

    fn dmabuf_imported(&mut self, _global: &DmabufGlobal, dmabuf: Dmabuf, notifier: ImportNotifier) {
        let result = check_planes(&dmabuf).and_then(|()| self.import_dmabuf(&dmabuf));
        match result {
            Ok(()) => {
                // Fails if the client is disconnected already.
                let buffer = notifier.successful::<Self>().ok();
                if let Some((client, buffer)) = buffer.and_then(|buffer| Some((buffer.client()?, buffer))) {
                    // The client is over its limit, and is being disconnected.
                    drop(self.count_object(&client, &buffer, Counted::Buffer));
                }
            }
            Err(error) => {
                debug!(error, "cannot import a client's dma-buf");
                notifier.failed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_rows;

    #[test]
    fn rows_beyond_the_buffer_are_refused() {
        let page = 4096;
        assert_eq!(check_rows(4 * 32, 32, 128, 0, page), Ok(()));
        // Exactly to the end; the last row needs no padding.
        assert_eq!(check_rows(4 * 30, 32, 128, 8, page), Ok(()));
        for (row, height, stride, offset) in [
            // Each row is longer than its stride: the case that pixman reads past the mapping.
            (4096 * 4, 1, 4, 0),
            (132, 1, 128, 0),
            (128, 33, 128, 0),
            (128, 32, 128, 4),
            (128, 32, 130, 0),
            (0, 32, 128, 0),
            (128, 0, 128, 0),
            (u64::from(u32::MAX), u64::from(u32::MAX), u64::from(u32::MAX), u64::from(u32::MAX)),
        ] {
            assert!(
                check_rows(row, height, stride, offset, page).is_err(),
                "{row} {height} {stride} {offset}"
            );
        }
    }
}
