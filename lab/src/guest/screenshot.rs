//! Screenshots: the committed framebuffers of a CRTC's planes, composed as KMS specifies (drm-kms,
//! "Plane Composition Properties": zpos order, pre-multiplied alpha over black).
//!
//! Root may read any framebuffer (DRM_IOCTL_MODE_GETFB2 with CAP_SYS_ADMIN), so the compositor
//! takes no part in it.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;

use anyhow::{bail, ensure, Context, Result};
use drm::buffer::DrmFourcc;
use drm::control::{crtc, framebuffer, plane, Device as ControlDevice, ResourceHandle};
use drm::{ClientCapability, Device};
use geom_lab::Card;
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};

/// The composed pixels.
pub struct Image {
    pub width: u32,
    pub height: u32,
    /// Four bytes per pixel in the order R, G, B, A, and rows without padding.
    pub rgba: Vec<u8>,
}

/// Opens a card without becoming DRM master.
fn open(name: &str) -> Result<Card> {
    let card = Card::open(format!("/dev/dri/{name}"))?;
    // The first process that opens a card without a DRM master becomes master, which would lock the
    // compositor out.
    let _ = card.release_master_lock();
    card.set_client_capability(ClientCapability::UniversalPlanes, true)?;
    card.set_client_capability(ClientCapability::Atomic, true)?;
    Ok(card)
}

/// Returns the values of an object's properties by name.
fn properties<T: ResourceHandle>(card: &Card, object: T) -> Result<HashMap<String, u64>> {
    let mut properties = HashMap::new();
    for (id, value) in card.get_properties(object)? {
        properties.insert(card.get_property(id)?.name().to_string_lossy().into_owned(), value);
    }
    Ok(properties)
}

/// Returns the card that has a connector of this name.
fn card_of(connector: &str) -> Result<String> {
    for entry in fs::read_dir("/sys/class/drm")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some((card, rest)) = name.split_once('-') {
            if rest == connector {
                return Ok(card.to_owned());
            }
        }
    }
    bail!("no connector {connector}")
}

/// How often a CRTC is read until two images are equal.
const MAX_READS: usize = 4;

/// Composes what a connector's CRTC scans out; black if the CRTC is inactive.
///
/// Reading takes longer than a frame: the compositor may draw into the same buffer again, and the
/// upper part of the image would be older than the lower one. So it is read until it stays the
/// same; of an animation, the last image counts.
pub fn of_connector(connector: &str) -> Result<Image> {
    let mut image = read(connector)?;
    for _ in 1..MAX_READS {
        let next = read(connector)?;
        if next.rgba == image.rgba {
            break;
        }
        image = next;
    }
    Ok(image)
}

fn read(connector: &str) -> Result<Image> {
    let card = open(&card_of(connector)?)?;
    let resources = card.resource_handles()?;
    let mut crtc_id = 0;
    for handle in resources.connectors() {
        let info = card.get_connector(*handle, false)?;
        if format!("{}-{}", info.interface().as_str(), info.interface_id()) == connector {
            crtc_id = properties(&card, *handle)?.get("CRTC_ID").copied().unwrap_or(0);
        }
    }
    ensure!(crtc_id != 0, "{connector} has no CRTC");
    let crtc: crtc::Handle = drm::control::from_u32(crtc_id as u32).context("CRTC id")?;
    let mode = card.get_crtc(crtc)?.mode().with_context(|| format!("{connector} has no mode"))?;
    let active = properties(&card, crtc)?.get("ACTIVE").copied().unwrap_or(0);
    let (width, height) = mode.size();
    let mut image = Image {
        width: width.into(),
        height: height.into(),
        rgba: [0, 0, 0, 255].repeat(usize::from(width) * usize::from(height)),
    };
    if active == 0 {
        return Ok(image);
    }
    let mut planes = Vec::new();
    for handle in card.plane_handles()? {
        let properties = properties(&card, handle)?;
        if properties.get("CRTC_ID") == Some(&crtc_id) && properties.get("FB_ID").is_some_and(|fb| *fb != 0) {
            // Drivers without zpos stack primary, overlay, cursor. The values of the property
            // "type" are overlay (0), primary (1), cursor (2).
            let rank = match properties.get("type") {
                Some(1) => 0,
                Some(0) => 1,
                _ => 2,
            };
            planes.push((properties.get("zpos").copied().unwrap_or(rank), rank, handle, properties));
        }
    }
    planes.sort_by_key(|(zpos, rank, handle, _)| (*zpos, *rank, u32::from(*handle)));
    for (_, _, handle, properties) in planes {
        compose(&card, &mut image, handle, &properties)?;
    }
    Ok(image)
}

/// A framebuffer's memory, mapped through its dma-buf.
struct Mapping {
    pointer: *mut std::ffi::c_void,
    length: usize,
    _fd: OwnedFd,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `map` mapped it, and no slice of it outlives `self`.
        let _ = unsafe { munmap(self.pointer, self.length) };
    }
}

/// Maps a framebuffer for reading.
fn map(card: &Card, info: &framebuffer::PlanarInfo) -> Result<Mapping> {
    let buffer = info.buffers()[0].context("the framebuffer has no buffer handle")?;
    let fd = card.buffer_to_prime_fd(buffer, drm::CLOEXEC);
    // Each GETFB2 creates a handle, which would keep the buffer alive.
    card.close_buffer(buffer)?;
    let fd = fd?;
    let length = info.offsets()[0] as usize + info.pitches()[0] as usize * info.size().1 as usize;
    // SAFETY: a new mapping, of memory that the kernel keeps while it is mapped.
    let pointer = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, &fd, 0) }
        .context("mmap")?;
    Ok(Mapping { pointer, length, _fd: fd })
}

/// Blends a plane over the image.
fn compose(
    card: &Card,
    image: &mut Image,
    handle: plane::Handle,
    properties: &HashMap<String, u64>,
) -> Result<()> {
    let value_of = |name: &str| properties.get(name).copied().unwrap_or(0);
    let fb: framebuffer::Handle = drm::control::from_u32(value_of("FB_ID") as u32).context("FB_ID")?;
    let info = card.get_planar_framebuffer(fb).with_context(|| format!("framebuffer of {handle:?}"))?;
    let format = info.pixel_format();
    let (alpha, swapped, deep) = match format {
        DrmFourcc::Xrgb8888 => (false, true, false),
        DrmFourcc::Argb8888 => (true, true, false),
        DrmFourcc::Xbgr8888 => (false, false, false),
        DrmFourcc::Abgr8888 => (true, false, false),
        DrmFourcc::Xrgb2101010 | DrmFourcc::Argb2101010 => (false, true, true),
        other => bail!("cannot read back pixel format {other}"),
    };
    let mapping = map(card, &info)?;
    // SAFETY: `map` mapped `length` bytes. A client may write meanwhile, which gives a torn image
    // and nothing worse, because bytes have no invalid values.
    let bytes = unsafe { std::slice::from_raw_parts(mapping.pointer.cast::<u8>(), mapping.length) };
    let (offset, pitch) = (info.offsets()[0] as usize, info.pitches()[0] as usize);
    let (crtc_x, crtc_y) = (value_of("CRTC_X") as i64, value_of("CRTC_Y") as i64);
    let (crtc_w, crtc_h) = (value_of("CRTC_W") as i64, value_of("CRTC_H") as i64);
    let (src_x, src_y) = ((value_of("SRC_X") >> 16) as i64, (value_of("SRC_Y") >> 16) as i64);
    let (src_w, src_h) = ((value_of("SRC_W") >> 16) as i64, (value_of("SRC_H") >> 16) as i64);
    for y in crtc_y.max(0)..(crtc_y + crtc_h).min(image.height.into()) {
        for x in crtc_x.max(0)..(crtc_x + crtc_w).min(image.width.into()) {
            let column = src_x + (x - crtc_x) * src_w / crtc_w;
            let row = src_y + (y - crtc_y) * src_h / crtc_h;
            let at = offset + row as usize * pitch + column as usize * 4;
            let Some(pixel) = bytes.get(at..at + 4) else { continue };
            let (mut color, opacity) = if deep {
                let word = u32::from_le_bytes([pixel[0], pixel[1], pixel[2], pixel[3]]);
                ([(word >> 2) as u8, (word >> 12) as u8, (word >> 22) as u8], 255)
            } else {
                ([pixel[0], pixel[1], pixel[2]], if alpha { pixel[3] } else { 255 })
            };
            if swapped {
                color.reverse();
            }
            let target = (y as usize * image.width as usize + x as usize) * 4;
            for (channel, value) in color.into_iter().enumerate() {
                let below = u16::from(image.rgba[target + channel]);
                let kept = (below * u16::from(255 - opacity) + 127) / 255;
                image.rgba[target + channel] = (u16::from(value) + kept).min(255) as u8;
            }
        }
    }
    Ok(())
}
