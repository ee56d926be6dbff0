//! linux-dmabuf: buffers in GPU memory.

use std::collections::HashSet;

use geom_kms::framebuffer::opaque;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::format::get_bpp;
use smithay::backend::allocator::{Buffer, Format, Modifier};
use smithay::backend::renderer::ImportDma;
use smithay::reexports::calloop::Interest;
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_dmabuf_feedback_v1::TrancheFlags;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::Resource;
use smithay::utils::Size;
use smithay::wayland::compositor::with_states;
use smithay::wayland::dmabuf::{
    DmabufFeedback, DmabufFeedbackBuilder, DmabufGlobal, DmabufHandler, DmabufState, ImportNotifier,
    SurfaceDmabufFeedbackState,
};
use tracing::{debug, warn};

use super::Protocols;
use crate::clients::objects::Counted;
use crate::compositor::State;
use crate::output::scanout::Target;
use crate::render::renderer::Renderer;
use crate::shell::ShellWindow;

/// Old globals that are kept for clients that have bound them.
const MAX_OLD_GLOBALS: usize = 8;

/// The globals of linux-dmabuf.
#[derive(Default)]
pub struct DmabufGlobals {
    /// The newest one last. The others are disabled; their feedback objects receive changes too.
    globals: Vec<DmabufGlobal>,
    /// What is announced: the main device and the formats.
    announced: Option<(u64, HashSet<Format>)>,
    default_feedback: Option<DmabufFeedback>,
}

impl State {
    /// Announces the formats of the GPU that renders, and its render node. Feedback objects receive
    /// a change; as clients without feedback read formats once, other formats get a new global.
    pub fn announce_dmabuf(&mut self) {
        let Some(gpu) = self.backend.render_gpu() else { return };
        let formats: HashSet<Format> = gpu.renderer.dmabuf_formats().iter().copied().collect();
        let current = (gpu.render_device(), formats);
        let known = self.protocols.dmabuf_globals.announced.as_ref();
        if known == Some(&current) {
            return;
        }
        let has_other_formats = known.is_none_or(|(_, formats)| *formats != current.1);
        let feedback = match DmabufFeedbackBuilder::new(current.0, current.1.clone()).build() {
            Ok(feedback) => feedback,
            Err(error) => {
                warn!(%error, "cannot offer linux-dmabuf: no memory for its format table");
                return;
            }
        };
        let Protocols { dmabuf, dmabuf_globals, .. } = &mut self.protocols;
        let globals = &mut dmabuf_globals.globals;
        globals.iter().for_each(|global| dmabuf.set_default_feedback(global, &feedback));
        if has_other_formats {
            let display = &self.display_handle;
            globals.last().into_iter().for_each(|global| dmabuf.disable_global::<Self>(display, global));
            globals.push(dmabuf.create_global_with_default_feedback::<Self>(display, &feedback));
            if globals.len() > MAX_OLD_GLOBALS {
                dmabuf.destroy_global::<Self>(display, globals.remove(0));
            }
        }
        dmabuf_globals.announced = Some(current);
        dmabuf_globals.default_feedback = Some(feedback);
    }

    /// Sends windows that asked for feedback which buffers may be scanned out.
    pub fn update_surface_feedback(&mut self) {
        let surfaces = self.shell.windows().iter().filter_map(ShellWindow::surface);
        for surface in surfaces {
            let asked =
                with_states(&surface, |states| SurfaceDmabufFeedbackState::from_states(states).is_some());
            let default = self.protocols.dmabuf_globals.default_feedback.as_ref();
            let Some(default) = default.filter(|_| asked) else { continue };
            let for_scanout = self.scanout_feedback(&surface);
            let feedback = for_scanout.as_ref().unwrap_or(default);
            with_states(&surface, |states| {
                if let Some(state) = SurfaceDmabufFeedbackState::from_states(states) {
                    state.set_feedback(feedback);
                }
            });
        }
    }

    /// Returns the feedback for a fullscreen window: what the plane of its display can scan out
    /// comes first. `None` for other surfaces, and where buffers are not scanned out directly.
    fn scanout_feedback(&self, surface: &WlSurface) -> Option<DmabufFeedback> {
        let window = self.shell.window_of(surface).filter(|window| window.fullscreen)?;
        let Target::Crtc { gpu, index } = self.outputs.scanout(window.shown_on?)?.target() else {
            return None;
        };
        let render_gpu = self.backend.render_gpu().filter(|render| render.device.id() == gpu)?;
        let plane = render_gpu.device.primary_plane(index).filter(|_| self.config.direct_scanout)?;
        let (main_device, formats) = self.protocols.dmabuf_globals.announced.as_ref()?;
        let can_show = |format: &&Format| plane.formats.supports(opaque(format.code), format.modifier);
        let shown = formats.iter().filter(can_show).copied();
        let builder = DmabufFeedbackBuilder::new(*main_device, formats.iter().copied());
        let builder = builder.add_preference_tranche(gpu, Some(TrancheFlags::Scanout), shown);
        builder.build().inspect_err(|error| warn!(%error, "cannot send dma-buf feedback")).ok()
    }
}

impl State {
    fn import_dmabuf(&mut self, dmabuf: &Dmabuf) -> Result<(), String> {
        let gpu = self.backend.render_gpu_mut().ok_or("no GPU")?;
        let format = dmabuf.format();
        let is_known_format = gpu.renderer.dmabuf_formats().contains(&format);
        match &mut gpu.renderer {
            // To import it would wait for the client's GPU, in the event loop (Smithay 0.7.0,
            // DMA_BUF_IOCTL_SYNC). Its commits wait outside of it, and what draws them imports.
            Renderer::Pixman(_) if is_written(dmabuf) => match is_known_format && dmabuf.num_planes() == 1 {
                true => Ok(()),
                false => Err(format!("no buffer of {format:?} with {} planes", dmabuf.num_planes())),
            },
            Renderer::Pixman(renderer) => {
                renderer.import_dmabuf(dmabuf, None).map(drop).map_err(|error| error.to_string())
            }
            Renderer::Gles(gles) => {
                gles.renderer.import_dmabuf(dmabuf, None).map(drop).map_err(|error| error.to_string())
            }
        }
    }
}

/// Returns whether a GPU still writes to a buffer: it has a fence that is not signaled.
fn is_written(dmabuf: &Dmabuf) -> bool {
    dmabuf.generate_blocker(Interest::READ).is_ok()
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

    fn new_surface_feedback(&mut self, surface: &WlSurface, _: &DmabufGlobal) -> Option<DmabufFeedback> {
        self.scanout_feedback(surface)
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
