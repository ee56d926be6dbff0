//! An open DRM card, for the lab's own programs.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use drm::control::Device as ControlDevice;
use drm::Device;

/// An open DRM card: a GPU's primary node, or the file descriptor of a lease.
pub struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
impl Device for Card {}
impl ControlDevice for Card {}

impl From<OwnedFd> for Card {
    fn from(lease: OwnedFd) -> Self {
        Self(lease.into())
    }
}

impl Card {
    /// Opens a card by its device file, such as `/dev/dri/card0`.
    ///
    /// If the card has no DRM master, the caller becomes master (drm-uapi.rst, "Primary Nodes, DRM
    /// Master and Authentication").
    ///
    /// # Errors
    /// If the device file cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::options().read(true).write(true).open(path);
        Ok(Self(file.with_context(|| path.display().to_string())?))
    }
}
