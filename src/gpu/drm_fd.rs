//! An open DRM device.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use drm::control::{framebuffer, property, Device as ControlDevice, RawResourceHandle};
use drm::Device;

/// A DRM device's descriptor, shared by all that belongs to the device.
#[derive(Debug, Clone)]
pub struct DrmFd(Arc<OwnedFd>);

impl AsFd for DrmFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
impl Device for DrmFd {}
impl ControlDevice for DrmFd {}

impl DrmFd {
    pub fn new(fd: OwnedFd) -> Self {
        Self(Arc::new(fd))
    }

    /// The descriptor back, once nothing else holds the device.
    pub fn into_fd(self) -> Result<OwnedFd, Self> {
        Arc::try_unwrap(self.0).map_err(Self)
    }
}

/// A framebuffer, removed when dropped.
#[derive(Debug)]
pub struct Framebuffer {
    card: DrmFd,
    pub handle: framebuffer::Handle,
}

impl Framebuffer {
    pub fn new(card: &DrmFd, handle: framebuffer::Handle) -> Self {
        Self { card: card.clone(), handle }
    }
}

impl Drop for Framebuffer {
    fn drop(&mut self) {
        // Fails only where the device is gone, and the framebuffer with it.
        let _ = self.card.destroy_framebuffer(self.handle);
    }
}

/// A property blob, destroyed when dropped; the kernel keeps what a commit uses.
#[derive(Debug)]
pub struct Blob {
    card: DrmFd,
    id: u64,
}

impl Blob {
    pub fn new<T>(card: &DrmFd, data: &T) -> io::Result<Self> {
        match card.create_property_blob(data)? {
            property::Value::Blob(id) => Ok(Self { card: card.clone(), id }),
            other => Err(io::Error::other(format!("the kernel answered {other:?} for a blob"))),
        }
    }

    /// Of any length.
    pub fn of_bytes(card: &DrmFd, bytes: &mut [u8]) -> io::Result<Self> {
        let blob = drm_ffi::mode::create_property_blob(card.as_fd(), bytes)?;
        Ok(Self { card: card.clone(), id: blob.blob_id.into() })
    }

    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        let _ = self.card.destroy_property_blob(self.id);
    }
}

/// The number of a KMS object, as requests and logs have it.
pub fn raw<H: Into<RawResourceHandle>>(handle: H) -> u32 {
    handle.into().get()
}
