//! An open DRM device.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use drm::control::RawResourceHandle;

use crate::calls::DrmCalls;
#[cfg(any(test, feature = "fake"))]
use crate::fake::FakeDevice;
use crate::kernel::Kernel;

/// A device's descriptor, shared by everything that belongs to the device.
///
/// It dereferences to the calls that can be made on it.
#[derive(Debug, Clone)]
pub struct DrmFd(Arc<Calls>);

/// An enum in place of a boxed trait object: without the feature `fake` there is one variant, and
/// calls are direct.
#[derive(Debug)]
enum Calls {
    Kernel(Kernel),
    #[cfg(any(test, feature = "fake"))]
    Fake(FakeDevice),
}

impl Deref for DrmFd {
    type Target = dyn DrmCalls;

    fn deref(&self) -> &Self::Target {
        match &*self.0 {
            Calls::Kernel(kernel) => kernel,
            #[cfg(any(test, feature = "fake"))]
            Calls::Fake(fake) => fake,
        }
    }
}

impl AsFd for DrmFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.deref().as_fd()
    }
}

impl DrmFd {
    /// Wraps a descriptor of a device's primary node.
    pub fn new(fd: OwnedFd) -> Self {
        Self(Arc::new(Calls::Kernel(Kernel(fd))))
    }

    /// Returns the descriptor.
    ///
    /// # Errors
    ///
    /// Returns itself if something else still holds the device.
    pub fn into_fd(self) -> Result<OwnedFd, Self> {
        match Arc::try_unwrap(self.0).map_err(Self)? {
            Calls::Kernel(kernel) => Ok(kernel.0),
            #[cfg(any(test, feature = "fake"))]
            Calls::Fake(fake) => fake.as_fd().try_clone_to_owned().map_err(|_| fake.open()),
        }
    }
}

#[cfg(any(test, feature = "fake"))]
impl From<FakeDevice> for DrmFd {
    fn from(fake: FakeDevice) -> Self {
        Self(Arc::new(Calls::Fake(fake)))
    }
}

/// A property blob. Destroyed when dropped; the kernel keeps what a committed state refers to.
#[derive(Debug)]
pub struct Blob {
    fd: DrmFd,
    id: u64,
}

impl Blob {
    /// Creates a blob. `data` is mutable only for [`DrmCalls::create_blob`].
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: no memory.
    pub fn new(fd: &DrmFd, data: &mut [u8]) -> io::Result<Self> {
        Ok(Self { fd: fd.clone(), id: fd.create_blob(data)? })
    }

    /// Returns its id, which is the value of a property.
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Blob {
    fn drop(&mut self) {
        // Fails only if the device is gone, and the blob with it.
        let _ = self.fd.destroy_blob(self.id);
    }
}

/// Returns the id of a KMS object, as it is in requests and logs.
pub fn raw<H: Into<RawResourceHandle>>(handle: H) -> u32 {
    handle.into().get()
}
