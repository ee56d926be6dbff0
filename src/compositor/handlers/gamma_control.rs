//! wlr-gamma-control: tools such as gammastep set an output's gamma LUT, in hardware.
//!
//! Source: wlr-gamma-control-unstable-v1.xml. One tool per output; its LUT is removed when its
//! object is destroyed.

use std::collections::HashMap;
use std::os::fd::AsFd;

use geom_kms::Device;
use smithay::output::Output;
use smithay::reexports::wayland_protocols_wlr::gamma_control::v1::server::zwlr_gamma_control_manager_v1::{
    self, ZwlrGammaControlManagerV1,
};
use smithay::reexports::wayland_protocols_wlr::gamma_control::v1::server::zwlr_gamma_control_v1::{
    self, ZwlrGammaControlV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::{
    Client, DataInit, Dispatch, DisplayHandle, GlobalDispatch, New, Resource,
};
use tracing::{debug, info, warn};

use super::security_context::is_trusted;
use crate::clients::received_file::may_block;
use crate::compositor::State;

/// The global. Sandboxed clients do not see it.
pub struct Global;

/// The objects that set gamma LUTs, by output.
pub type Controls = HashMap<String, ZwlrGammaControlV1>;

/// The name of the output that an object belongs to.
pub struct Of(String);

/// Reads a gamma LUT: `size` values of 16 bits for red, then for green, then for blue. `None` if
/// the file is too short, or on a file system that may block.
fn read_lut(fd: impl AsFd, size: usize) -> Option<Vec<[u16; 3]>> {
    if may_block(&fd) {
        return None;
    }
    let mut bytes = vec![0; size * 6];
    let mut read = 0;
    while read < bytes.len() {
        // From the beginning, wherever the client left the offset. pread fails on pipes, which
        // could block us.
        match rustix::io::pread(&fd, &mut bytes[read..], read as u64) {
            Ok(0) | Err(_) => return None,
            Ok(more) => read += more,
        }
    }
    let word = |at: usize| u16::from_ne_bytes([bytes[2 * at], bytes[2 * at + 1]]);
    Some((0..size).map(|step| [word(step), word(size + step), word(2 * size + step)]).collect())
}

impl State {
    /// Returns the device of an enabled output, and the number of entries of its gamma LUT. `None`
    /// if the hardware has none.
    pub fn gamma_of(&mut self, display: &str) -> Option<(&mut Device, usize)> {
        let mut devices = self.backend.gpus_mut().map(|gpu| &mut gpu.device);
        let device = devices.find(|device| device.is_enabled(display))?;
        let size = device.gamma_size(display).filter(|size| *size > 0)?;
        Some((device, size))
    }

    /// Ends the objects of outputs that are not enabled any more.
    pub fn check_gamma(&mut self) {
        let gone = |name: &String| self.outputs.named(name).is_none_or(|output| !output.is_enabled());
        let gone: Vec<String> = self.protocols.gamma.keys().filter(|name| gone(name)).cloned().collect();
        for name in gone {
            if let Some(control) = self.protocols.gamma.remove(&name) {
                control.failed();
            }
        }
    }

    fn set_gamma(&mut self, control: &ZwlrGammaControlV1, name: &str, lut: Option<&[[u16; 3]]>) {
        let done = self.gamma_of(name).map(|(device, _)| device.set_gamma(name, lut));
        match done {
            Some(Ok(())) => {
                debug!(display = name, is_set = lut.is_some(), "gamma LUT of a tool");
                if let Some(id) = self.outputs.id(name) {
                    self.queue_redraw(id);
                }
            }
            Some(Err(error)) => {
                warn!(display = name, %error, "the kernel refuses a tool's gamma LUT");
                control.failed();
                self.protocols.gamma.remove(name);
            }
            None => {}
        }
    }
}

impl GlobalDispatch<ZwlrGammaControlManagerV1, Global> for State {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        manager: New<ZwlrGammaControlManagerV1>,
        _: &Global,
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(manager, ());
    }

    fn can_view(client: Client, _: &Global) -> bool {
        is_trusted(&client)
    }
}

impl Dispatch<ZwlrGammaControlManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        _: &ZwlrGammaControlManagerV1,
        request: zwlr_gamma_control_manager_v1::Request,
        _: &(),
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        let zwlr_gamma_control_manager_v1::Request::GetGammaControl { id, output } = request else { return };
        let name = Output::from_resource(&output).map(|output| output.name()).unwrap_or_default();
        let control = init.init(id, Of(name.clone()));
        let taken = state.protocols.gamma.get(&name).is_some_and(Resource::is_alive);
        match state.gamma_of(&name).filter(|_| !taken) {
            Some((_, size)) => {
                control.gamma_size(size as u32);
                info!(display = name, "a tool controls the gamma LUT");
                state.protocols.gamma.insert(name, control);
            }
            // Another tool controls it, or the hardware has none.
            None => control.failed(),
        }
    }
}

impl Dispatch<ZwlrGammaControlV1, Of> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        control: &ZwlrGammaControlV1,
        request: zwlr_gamma_control_v1::Request,
        Of(name): &Of,
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        let zwlr_gamma_control_v1::Request::SetGamma { fd } = request else { return };
        if state.protocols.gamma.get(name) != Some(control) {
            return;
        }
        let Some((_, size)) = state.gamma_of(name) else { return };
        match read_lut(fd, size) {
            Some(lut) => state.set_gamma(control, name, Some(&lut)),
            None => {
                let error = zwlr_gamma_control_v1::Error::InvalidGamma;
                control
                    .post_error(error, format!("the file must have 3 tables of {size} numbers of 16 bits"));
            }
        }
    }

    fn destroyed(state: &mut Self, _: ClientId, control: &ZwlrGammaControlV1, Of(name): &Of) {
        if state.protocols.gamma.get(name) == Some(control) {
            state.protocols.gamma.remove(name);
            state.set_gamma(control, name, None);
            state.restore_gamma(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn short_files_and_pipes_are_refused() -> std::io::Result<()> {
        let mut file = tempfile::tempfile()?;
        let words: Vec<u8> = (1..=12u16).flat_map(u16::to_ne_bytes).collect();
        file.write_all(&words)?;
        assert_eq!(read_lut(&file, 4), Some(vec![[1, 5, 9], [2, 6, 10], [3, 7, 11], [4, 8, 12]]));
        assert_eq!(read_lut(&file, 5), None);
        let (no_file, _other) = std::os::unix::net::UnixStream::pair()?;
        assert_eq!(read_lut(&no_file, 4), None);
        Ok(())
    }
}
