//! Why a device cannot be used.

use std::io;
use std::path::PathBuf;

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its driver has no KMS, or no CRTC: it only renders (v3d, panfrost, vgem, or nvidia-drm with
    /// `modeset=0`).
    #[error("{0}: its driver has no KMS")]
    WithoutKms(PathBuf),
    /// The kernel's error.
    #[error("{path}: cannot read its KMS objects: {source}")]
    Failed {
        /// The path of the device node.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}
