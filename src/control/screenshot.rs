//! Encodes screenshots as PNG files. Takes too long for the event loop: some 100 ms for 3840x2160.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use geom_ipc::{Error, Response};
use rustix::fs::{memfd_create, MemfdFlags};

use super::command::failed;
use crate::render::offscreen::RgbImage;

/// An image of a display, and the file to create.
pub struct Screenshot {
    pub image: RgbImage,
    /// `None` for a memory file, whose descriptor goes with the response.
    pub path: Option<PathBuf>,
}

impl Screenshot {
    /// Creates the file. Returns the response and its descriptor.
    ///
    /// # Errors
    /// If the file exists or cannot be written.
    pub fn save(&self) -> Result<(Response, Option<OwnedFd>), Error> {
        let (width, height) = (self.image.width, self.image.height);
        let fd = match &self.path {
            Some(path) => {
                let saved = write_new(&self.image, path);
                saved.map_err(|error| failed(format!("{}: {error}", path.display())))?;
                None
            }
            None => {
                let written = write_memory(&self.image);
                Some(written.map_err(|error| failed(format!("cannot create a memory file: {error}")))?)
            }
        };
        Ok((Response::Screenshot { width, height }, fd))
    }
}

/// Writes a new file, all of it or nothing. An existing file is never replaced: the client may not
/// be allowed to write what the service's user may.
fn write_new(image: &RgbImage, path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut options = tempfile::Builder::new();
    let file = options.permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
    write_png(image, file.as_file())?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

fn write_memory(image: &RgbImage) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("screenshot", MemfdFlags::CLOEXEC)?);
    write_png(image, &file)?;
    file.rewind()?;
    Ok(file.into())
}

fn write_png(image: &RgbImage, file: &File) -> io::Result<()> {
    let mut encoder = png::Encoder::new(BufWriter::new(file), image.width, image.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(io::Error::other)?;
    writer.write_image_data(&image.rgb).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screenshot(path: Option<PathBuf>) -> Screenshot {
        let rgb = (0..2 * 3 * 3).collect();
        Screenshot { image: RgbImage { width: 2, height: 3, rgb }, path }
    }

    fn decode(file: File) -> Vec<u8> {
        let mut reader = png::Decoder::new(io::BufReader::new(file)).read_info().expect("PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("pixels");
        pixels
    }

    #[test]
    fn file_is_created_and_never_replaced() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("shot.png");
        let shot = screenshot(Some(path.clone()));
        let saved = shot.save().expect("saved");
        assert!(saved.0 == Response::Screenshot { width: 2, height: 3 } && saved.1.is_none());
        assert_eq!(decode(File::open(&path)?), shot.image.rgb);
        assert_eq!(path.metadata()?.permissions().mode() & 0o777 & !0o044, 0o600);
        std::fs::write(&path, "other")?;
        assert!(shot.save().is_err());
        assert_eq!(std::fs::read(&path)?, b"other");
        // A link to a file that does not exist is not followed.
        let link = folder.path().join("link.png");
        std::os::unix::fs::symlink(folder.path().join("target"), &link)?;
        assert!(screenshot(Some(link)).save().is_err());
        // No temporary file stays.
        assert_eq!(std::fs::read_dir(folder.path())?.count(), 2);
        assert!(screenshot(Some("/nonexistent/shot.png".into())).save().is_err());
        Ok(())
    }

    #[test]
    fn descriptor_has_the_image_from_its_start() {
        let shot = screenshot(None);
        let (_, fd) = shot.save().expect("saved");
        assert_eq!(decode(fd.expect("a descriptor").into()), shot.image.rgb);
    }
}
