//! The previous DRM master's image.

use drm::buffer::{DrmFourcc, DrmModifier};
use drm::control::Mode;

use super::Rig;
use crate::calls::DrmCalls;
use crate::fake::{mode, FakeDevice};
use crate::framebuffer::{import, FramebufferLayout};
use crate::Framebuffer;

const GRAY: u32 = 0xff80_8080;

fn shown(current: &Mode) -> Rig {
    let fake = FakeDevice::with_outputs(1);
    fake.show(fake.crtcs()[0], fake.connectors()[0], current, GRAY);
    Rig::new(fake)
}

#[test]
fn image_is_read_and_stays_after_its_owner_is_gone() {
    let current = mode(1280, 720, 60);
    let rig = shown(&current);
    let owner = rig.fake.value(rig.fake.planes()[0], "FB_ID").expect("a framebuffer");
    let image = rig.device.inherited_framebuffer("DP-1", 0, &current).expect("no error").expect("an image");
    assert_eq!(image.size(), (1280, 720));
    assert_ne!(u64::from(u32::from(image.framebuffer().handle())), owner, "a framebuffer of its own");
    let mut pixels = vec![0; 1280 * 720 * 4];
    image.copy_to(&mut pixels);
    assert!(pixels.chunks(4).all(|pixel| pixel == GRAY.to_ne_bytes()));
    let mut few = vec![0; 1280 * 4 + 8];
    image.copy_to(&mut few);
    assert_eq!(few[1280 * 4..], [0; 8], "rows that do not fit are left out");
    assert_eq!(rig.fake.resource_counts().1, 0, "GEM handles are closed");
}

#[test]
fn image_in_another_mode_or_on_another_crtc_is_not_inherited() {
    let current = mode(1280, 720, 60);
    let rig = shown(&current);
    let inherits = |output: &str, crtc, mode: &Mode| {
        rig.device.inherited_framebuffer(output, crtc, mode).expect("no error").is_some()
    };
    assert!(inherits("DP-1", 0, &current));
    assert!(!inherits("DP-1", 0, &mode(1280, 720, 50)));
    assert!(!inherits("DP-1", 1, &current));
    assert!(!inherits("DP-2", 0, &current));
}

#[test]
fn nothing_is_inherited_from_a_disabled_crtc() {
    let rig = Rig::with_outputs(1);
    let image = rig.device.inherited_framebuffer("DP-1", 0, &mode(1920, 1080, 60)).expect("no error");
    assert!(image.is_none());
}

#[test]
fn image_that_cannot_be_read_is_not_inherited() {
    let current = mode(1280, 720, 60);
    for (format, modifier) in
        [(DrmFourcc::Rgb565, None), (DrmFourcc::Xrgb8888, Some(DrmModifier::from(0x0100_0000_0000_0002)))]
    {
        let rig = shown(&current);
        let plane = rig.fake.planes()[0];
        let old =
            rig.fake.value(plane, "FB_ID").and_then(|id| drm::control::from_u32(id as u32)).expect("one");
        let layout = DrmCalls::framebuffer(&rig.fake, old).expect("the layout");
        let other =
            Framebuffer::new(rig.device.fd(), &FramebufferLayout { format, modifier, ..layout.clone() });
        let other = other.expect("a framebuffer");
        layout.close_handles(&rig.fake);
        rig.fake.set_value(plane, "FB_ID", u32::from(other.handle()).into());
        let image = rig.device.inherited_framebuffer("DP-1", 0, &current).expect("no error");
        assert!(image.is_none(), "{format}");
        assert_eq!(rig.fake.resource_counts().1, 0, "GEM handles are closed");
    }
}

#[test]
fn image_cannot_be_read_without_master() {
    let current = mode(1280, 720, 60);
    let rig = shown(&current);
    rig.fake.set_master(false);
    assert!(rig.device.inherited_framebuffer("DP-1", 0, &current).is_err());
}

#[test]
fn imported_planes_in_the_same_memory_share_a_handle() {
    use std::os::fd::AsFd;
    let rig = Rig::with_outputs(1);
    let memory = rustix::fs::memfd_create("buffer", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
    let planes = [(memory.as_fd(), 256, 0), (memory.as_fd(), 128, 4096)];
    let framebuffer =
        import(rig.device.fd(), (64, 64), DrmFourcc::Argb8888, DrmModifier::Linear, planes.into_iter());
    let framebuffer = framebuffer.expect("a framebuffer");
    assert_eq!(rig.fake.resource_counts().1, 0, "GEM handles are closed");
    let layout = DrmCalls::framebuffer(&rig.fake, framebuffer.handle()).expect("the layout");
    assert_eq!((layout.format, layout.modifier), (DrmFourcc::Xrgb8888, Some(DrmModifier::Linear)));
    assert_eq!((layout.pitches[1], layout.offsets[1]), (128, 4096));
    layout.close_handles(&rig.fake);
}

#[test]
fn buffer_that_the_driver_refuses_leaks_nothing() {
    use std::os::fd::AsFd;
    let rig = Rig::with_outputs(1);
    let memory = rustix::fs::memfd_create("buffer", rustix::fs::MemfdFlags::CLOEXEC).expect("a memfd");
    let planes = [(memory.as_fd(), 1, 0)];
    let result =
        import(rig.device.fd(), (64, 64), DrmFourcc::Xrgb8888, DrmModifier::Linear, planes.into_iter());
    assert!(result.is_err(), "the pitch is too small");
    assert_eq!(rig.fake.resource_counts(), (0, 0, 2));
}
