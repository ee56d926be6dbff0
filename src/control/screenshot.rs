//! Pictures of displays, as PNG.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use geom_ipc::{Response, Error, ErrorKind};
use rustix::fs::{memfd_create, MemfdFlags};

use crate::render::offscreen::{self, Picture};
use crate::output::scanout::Target;
use crate::compositor::State;

fn failed(what: String) -> Error {
    Error::new(ErrorKind::Failed, what)
}

impl State {
    /// A PNG of what a display shows, cursor included: at a path, or in the descriptor.
    pub fn screenshot(&mut self, name: &str, path: Option<&str>) -> Result<(Response, Option<OwnedFd>), Error> {
        let meant = match self.display_named(name) {
            Ok(meant) => meant,
            Err(error) if error.kind == ErrorKind::BadValue => return Err(error),
            Err(_) => name.to_owned(),
        };
        let name = meant.as_str();
        let lit = self.outputs.named(name).is_some_and(|output| output.is_enabled());
        if !lit {
            let lit = self.outputs.enabled_names().join(", ");
            return Err(Error::new(ErrorKind::NotFound, format!("no display {name} is lit; lit are: {lit}")));
        }
        if self.backend.is_paused() {
            return Err(failed(format!("{}; nothing is shown now", self.backend.pause_reason())));
        }
        let picture =
            self.picture_of(name).map_err(|error| failed(format!("{name} can't be drawn: {error}")))?;
        let answer = Response::Screenshot { width: picture.width, height: picture.height };
        match path {
            Some(path) => {
                if !Path::new(path).is_absolute() {
                    let message =
                        format!("{path:?} is not an absolute path, and the server's folder is not yours");
                    return Err(Error::new(ErrorKind::BadValue, message));
                }
                // Anew and nothing else: a request must not overwrite what the server's user may.
                let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
                let file = file.map_err(|error| failed(format!("{path}: {error}")))?;
                write_png(&picture, &file).map_err(|error| {
                    // Never half a file.
                    let _ = std::fs::remove_file(path);
                    failed(format!("{path}: {error}"))
                })?;
                Ok((answer, None))
            }
            None => {
                let made = memfd_create("screenshot", MemfdFlags::CLOEXEC).map_err(io::Error::from);
                let written = made.and_then(|fd| {
                    let mut file = File::from(fd);
                    write_png(&picture, &file)?;
                    file.rewind()?;
                    Ok(OwnedFd::from(file))
                });
                let fd = written.map_err(|error| failed(format!("a file in memory: {error}")))?;
                Ok((answer, Some(fd)))
            }
        }
    }

    pub fn picture_of(&mut self, name: &str) -> io::Result<Picture> {
        let id = self.outputs.id(name).ok_or(io::ErrorKind::NotFound)?;
        let content = self.content_of(id).ok_or(io::ErrorKind::NotFound)?;
        let visible = self.visible_surfaces(content);
        let drawn = self.with_scene(id, visible, |state, scene| {
            let State { outputs, backend, .. } = state;
            let output = outputs.get(id).ok_or(io::ErrorKind::NotFound)?;
            let scanout = output.scanout.as_ref().ok_or(io::ErrorKind::NotFound)?;
            match scanout.target {
                Target::Memory => {
                    let renderer = backend.memory_renderer().ok_or(io::ErrorKind::NotFound)?;
                    offscreen::draw_picture(renderer, scene)
                }
                Target::Crtc { gpu, .. } => {
                    let gpu = backend.gpu_mut(gpu).ok_or(io::ErrorKind::NotFound)?;
                    offscreen::draw_on_gpu(&mut gpu.renderer, scene)
                }
            }
        });
        drawn.unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }
}

fn write_png(picture: &Picture, file: &File) -> io::Result<()> {
    let mut encoder = png::Encoder::new(BufWriter::new(file), picture.width, picture.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(&picture.rgb).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)
}
