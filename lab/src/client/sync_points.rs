//! Sync points of a window's commits (linux-drm-syncobj), on a timeline of a DRM device.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use drm::control::{syncobj, Device as _};
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::QueueHandle;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_manager_v1::WpLinuxDrmSyncobjManagerV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_surface_v1::WpLinuxDrmSyncobjSurfaceV1;
use wayland_protocols::wp::linux_drm_syncobj::v1::client::wp_linux_drm_syncobj_timeline_v1::WpLinuxDrmSyncobjTimelineV1;

use crate::App;

/// How often the file is looked for, and a release point is waited for at a time.
const INTERVAL: Duration = Duration::from_millis(10);

/// A DRM device with timelines.
struct Device(File);

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl drm::Device for Device {}
impl drm::control::Device for Device {}

/// The points of one window: two for each buffer, when it is ready and when it is free again.
pub struct SyncPoints {
    device: Arc<Device>,
    syncobj: syncobj::Handle,
    timeline: WpLinuxDrmSyncobjTimelineV1,
    surface: WpLinuxDrmSyncobjSurfaceV1,
    last: u64,
    /// The first buffer is ready when this file exists.
    file: PathBuf,
}

impl SyncPoints {
    /// Makes a timeline on a device, such as `/dev/dri/renderD128`.
    pub fn new(
        manager: &WpLinuxDrmSyncobjManagerV1,
        surface: &WlSurface,
        queue: &QueueHandle<App>,
        (device, file): (&Path, &Path),
    ) -> Result<Self> {
        let node = File::options().read(true).write(true).open(device);
        let device = Arc::new(Device(node.with_context(|| format!("cannot open {}", device.display()))?));
        let syncobj = device.create_syncobj(false).context("cannot create a syncobj")?;
        let fd = device.syncobj_to_fd(syncobj, false).context("cannot export a syncobj")?;
        let timeline = manager.import_timeline(fd.as_fd(), queue, ());
        let surface = manager.get_surface(surface, queue, ());
        Ok(Self { device, syncobj, timeline, surface, last: 0, file: file.to_owned() })
    }

    /// Sets the points of the next commit, whose buffer is ready at once, or for the first one when
    /// the file exists. Prints `ready N` and `released N` with the number of the buffer.
    pub fn attach(&mut self) {
        let (ready, free) = (self.last + 1, self.last + 2);
        let is_first = self.last == 0;
        self.last = free;
        self.surface.set_acquire_point(&self.timeline, 0, ready as u32);
        self.surface.set_release_point(&self.timeline, 0, free as u32);
        let (device, syncobj, file) = (self.device.clone(), self.syncobj, self.file.clone());
        std::thread::spawn(move || {
            while is_first && !file.exists() {
                std::thread::sleep(INTERVAL);
            }
            let number = free / 2;
            match device.syncobj_timeline_signal(&[syncobj], &[ready]) {
                Ok(()) => println!("ready {number}"),
                Err(error) => println!("cannot signal point {ready}: {error}"),
            }
            let mut point = [0];
            while point[0] < free {
                std::thread::sleep(INTERVAL);
                if device.syncobj_timeline_query(&[syncobj], &mut point, false).is_err() {
                    return;
                }
            }
            println!("released {number}");
        });
    }
}
