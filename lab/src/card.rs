//! An open DRM card, for the lab's own programs.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use drm::control::Device as ControlDevice;
use drm::Device;

pub struct Card(File);

impl AsFd for Card {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
impl Device for Card {}
impl ControlDevice for Card {}

/// A card of a lease.
impl From<OwnedFd> for Card {
    fn from(fd: OwnedFd) -> Self {
        Self(fd.into())
    }
}

impl Card {
    /// Opens a card, by its device file; without another master it is ours (drm-uapi.rst, "Primary Nodes, DRM Master and Authentication").
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = File::options().read(true).write(true).open(path);
        Ok(Self(file.with_context(|| path.display().to_string())?))
    }
}
