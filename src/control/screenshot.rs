//! Encodes screenshots as PNG files. Takes too long for the event loop: some 100 ms for 3840x2160.

// It runs on a thread, where nothing may panic (`event_loop/background.rs`).
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

use std::fs::File;
use std::io::{self, BufWriter, Seek};
use std::os::fd::OwnedFd;

use geom_ipc::{Error, Response};
use rustix::fs::{fcntl_add_seals, memfd_create, MemfdFlags, SealFlags};

use super::command::failed;
use crate::render::offscreen::RgbImage;

/// An image of a display.
pub struct Screenshot {
    pub image: RgbImage,
}

impl Screenshot {
    /// Encodes the image. Returns the response, and the memory file that goes with it. The client
    /// writes a file by itself, if it wants one: this process may write what the client may not.
    ///
    /// # Errors
    /// If memory or descriptors run out.
    pub fn encode(&self) -> Result<(Response, OwnedFd), Error> {
        let (width, height) = (self.image.width, self.image.height);
        let written = write_memory(&self.image);
        let fd = written.map_err(|error| failed(format!("cannot create a memory file: {error}")))?;
        Ok((Response::Screenshot { width, height }, fd))
    }
}

fn write_memory(image: &RgbImage) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("screenshot", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    write_png(image, &file)?;
    file.rewind()?;
    // The memory is counted as the service's, so the client must not make it larger.
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(file.into())
}

/// Returns the length of an image's pixels in bytes. `None` if that is beyond what memory holds.
fn byte_length(image: &RgbImage) -> Option<usize> {
    let [width, height] = [image.width, image.height].map(usize::try_from);
    width.ok()?.checked_mul(height.ok()?)?.checked_mul(3)
}

fn write_png(image: &RgbImage, file: &File) -> io::Result<()> {
    // The encoder multiplies without a check.
    if byte_length(image) != Some(image.rgb.len()) {
        return Err(io::Error::other("the image has another size than its pixels"));
    }
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

    #[test]
    fn image_with_too_few_pixels_is_an_error() {
        for (width, height) in [(2, 3), (0, 0), (u32::MAX, u32::MAX)] {
            assert!(Screenshot { image: RgbImage { width, height, rgb: vec![0; 5] } }.encode().is_err());
        }
    }

    #[test]
    fn descriptor_has_the_image_from_its_start_and_does_not_grow() {
        let image = RgbImage { width: 2, height: 3, rgb: (0..2 * 3 * 3).collect() };
        let shot = Screenshot { image };
        let (response, fd) = shot.encode().expect("encoded");
        assert_eq!(response, Response::Screenshot { width: 2, height: 3 });
        let file = File::from(fd);
        assert!(file.set_len(1 << 20).is_err());
        let mut reader = png::Decoder::new(io::BufReader::new(file)).read_info().expect("PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("pixels");
        assert_eq!(pixels, shot.image.rgb);
    }
}
