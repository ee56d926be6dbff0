//! Atomic commits to the fake device: the checks of the kernel, in its order.
//!
//! Source: drm_mode_atomic_ioctl() and drm_atomic_set_property() (drm_atomic_uapi.c),
//! drm_atomic_check_only() and drm_atomic_plane_check() (drm_atomic.c),
//! drm_atomic_helper_check_modeset() and drm_atomic_helper_check_plane_state()
//! (drm_atomic_helper.c).

use std::collections::{BTreeMap, BTreeSet};

use drm::buffer::DrmModifier;
use drm::control::AtomicCommitFlags;
use rustix::io::Errno;

use super::state::{Kind, Object, State, Values};
use super::{Call, Change, Commit};
use crate::calls::ClientCapability;
use crate::commit::AtomicRequest;
use crate::formats::PlaneFormats;
use crate::framebuffer::FramebufferLayout;
use crate::objects::PlaneKind;

type Checked = Result<(), Errno>;

fn require(condition: bool, error: Errno) -> Checked {
    if condition {
        Ok(())
    } else {
        Err(error)
    }
}

impl State {
    pub fn commit(&mut self, request: &AtomicRequest, flags: AtomicCommitFlags) -> Checked {
        let mut blobs = BTreeMap::new();
        let changes = request.iter().map(|(object, property, value)| {
            let known = self.properties.get(&property);
            let name = known.map_or_else(|| format!("unknown {property}"), |property| property.name.clone());
            if known.is_some_and(|property| matches!(property.kind, Kind::Blob(_))) {
                blobs.extend(self.blob(value).map(|data| ((object, name.clone()), data.to_vec())));
            }
            Change { object, property: name, value }
        });
        let changes = changes.collect();
        let commit = Commit { flags, changes, blobs, result: Ok(()) };
        self.record(Call::Atomic(commit))?;
        let result = self.check_and_apply(request, flags);
        if let Some(Call::Atomic(commit)) = self.calls.last_mut() {
            commit.result = result;
        }
        result
    }

    fn check_and_apply(&mut self, request: &AtomicRequest, flags: AtomicCommitFlags) -> Checked {
        let is_test = flags.contains(AtomicCommitFlags::TEST_ONLY);
        let wants_event = flags.contains(AtomicCommitFlags::PAGE_FLIP_EVENT);
        require(self.is_master, Errno::ACCESS)?;
        require(self.is_atomic, Errno::OPNOTSUPP)?;
        require(self.enabled.contains(&ClientCapability::Atomic), Errno::INVAL)?;
        require(!(is_test && wants_event), Errno::INVAL)?;
        let mut values = self.values.clone();
        for (object, property, value) in request.iter() {
            self.set_checked(&mut values, object, property, value)?;
        }
        let changed: BTreeSet<u32> = request.iter().map(|(object, ..)| object).collect();
        let crtcs = self.affected_crtcs(&values, &changed);
        require(!wants_event || !crtcs.is_empty(), Errno::INVAL)?;
        for plane in self.planes() {
            let is_affected =
                self.value_in(&values, plane, "CRTC_ID").is_some_and(|crtc| crtcs.contains(&(crtc as u32)));
            if changed.contains(&plane) || is_affected {
                self.check_plane(&values, plane)?;
            }
        }
        for crtc in &crtcs {
            self.check_crtc(&values, *crtc)?;
            if self.needs_modeset(&values, *crtc) {
                require(flags.contains(AtomicCommitFlags::ALLOW_MODESET), Errno::INVAL)?;
            }
        }
        self.check_limits(&values)?;
        if is_test {
            return Ok(());
        }
        match flags.contains(AtomicCommitFlags::NONBLOCK) {
            true => require(crtcs.is_disjoint(&self.pending), Errno::BUSY)?,
            // A blocking commit waits for the one before.
            false => self.complete_flips(std::time::Duration::ZERO),
        }
        if wants_event {
            self.pending.extend(crtcs);
        }
        self.values = values;
        self.reset_one_time_properties();
        self.collect_blobs();
        Ok(())
    }

    /// Sets a property outside of atomic requests. `DPMS` of a connector sets `ACTIVE` of its CRTC
    /// (drm_atomic_connector_commit_dpms()).
    pub fn set_property(&mut self, object: u32, property: u32, value: u64) -> Checked {
        const ON: u64 = 0;
        let mut values = self.values.clone();
        self.set_checked(&mut values, object, property, value)?;
        self.values = values;
        let is_dpms = self.properties.get(&property).is_some_and(|property| property.name == "DPMS");
        let crtc = self.value(object, "CRTC_ID").filter(|_| is_dpms).unwrap_or(0);
        self.set_value(crtc as u32, "ACTIVE", (value == ON).into());
        Ok(())
    }

    /// Sets a property, as drm_atomic_set_property() does.
    fn set_checked(&self, values: &mut Values, object: u32, property: u32, value: u64) -> Checked {
        require(self.objects.contains_key(&object), Errno::NOENT)?;
        let slot = values.get_mut(&(object, property)).ok_or(Errno::NOENT)?;
        let property = self.properties.get(&property).ok_or(Errno::NOENT)?;
        let id = u32::try_from(value).ok();
        let is_valid = match &property.kind {
            Kind::Enum(choices) => choices.iter().any(|(_, number)| *number == value),
            Kind::Range(min, max) => (*min..=*max).contains(&value),
            Kind::Blob(unit) => {
                value == 0 || self.blob(value).is_some_and(|data| !data.is_empty() && data.len() % unit == 0)
            }
            Kind::Framebuffer => value == 0 || id.is_some_and(|id| self.framebuffers.contains_key(&id)),
            Kind::Crtc => {
                value == 0 || id.is_some_and(|id| matches!(self.objects.get(&id), Some(Object::Crtc)))
            }
            Kind::Fence => true,
        };
        require(is_valid && !property.is_immutable, Errno::INVAL)?;
        *slot = value;
        Ok(())
    }

    fn affected_crtcs(&self, values: &Values, changed: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut crtcs = BTreeSet::new();
        for object in changed {
            if matches!(self.objects.get(object), Some(Object::Crtc)) {
                crtcs.insert(*object);
            }
            for crtc in [self.value(*object, "CRTC_ID"), self.value_in(values, *object, "CRTC_ID")] {
                crtcs.extend(crtc.filter(|crtc| *crtc != 0).map(|crtc| crtc as u32));
            }
        }
        crtcs
    }

    fn can_drive(&self, possible: u32, crtc: u32) -> bool {
        self.crtcs().iter().position(|known| *known == crtc).is_some_and(|index| possible & (1 << index) != 0)
    }

    fn check_plane(&self, values: &Values, plane: u32) -> Checked {
        let Some(Object::Plane { kind, possible_crtcs, formats }) = self.objects.get(&plane) else {
            return Ok(());
        };
        let value = |name: &str| self.value_in(values, plane, name).unwrap_or(0);
        let (crtc, id) = (value("CRTC_ID") as u32, value("FB_ID") as u32);
        require((crtc == 0) == (id == 0), Errno::INVAL)?;
        let Some(framebuffer) = self.framebuffers.get(&id) else { return Ok(()) };
        require(self.can_drive(*possible_crtcs, crtc), Errno::INVAL)?;
        let FramebufferLayout { format, modifier, .. } = framebuffer.layout;
        // drm_plane_has_format(): the plane has to list the modifier. Without one, the core takes
        // the framebuffer as linear.
        let in_formats = self.blob(value("IN_FORMATS")).unwrap_or_default();
        let listed = PlaneFormats::new(formats, in_formats);
        require(listed.contains(format), Errno::INVAL)?;
        let modifier = modifier.unwrap_or(DrmModifier::Linear);
        let is_accepted = listed.supports(format, modifier)
            || (modifier == DrmModifier::Linear && self.limits.unlisted_linear.contains(&plane));
        require(is_accepted, Errno::INVAL)?;
        let (width, height) = framebuffer.layout.size;
        let outside =
            |from: &str, length: &str, whole: u32| value(from) + value(length) > u64::from(whole) << 16;
        require(!outside("SRC_X", "SRC_W", width) && !outside("SRC_Y", "SRC_H", height), Errno::NOSPC)?;
        let clips = self.blob(value("FB_DAMAGE_CLIPS")).unwrap_or_default();
        for clip in clips.chunks_exact(16) {
            let edges: Vec<i32> = clip
                .chunks_exact(4)
                .filter_map(|edge| Some(i32::from_ne_bytes(edge.try_into().ok()?)))
                .collect();
            let is_valid = matches!(edges[..], [left, top, right, bottom]
                if 0 <= left && left < right && right as u32 <= width
                    && 0 <= top && top < bottom && bottom as u32 <= height);
            require(is_valid, Errno::INVAL)?;
        }
        // A plane that moves to another CRTC must be disabled in between.
        let before = self.value(plane, "CRTC_ID").unwrap_or(0) as u32;
        require(before == 0 || before == crtc, Errno::INVAL)?;
        let mode = self.mode_in(values, crtc).ok_or(Errno::INVAL)?;
        if *kind == PlaneKind::Primary {
            let size = (value("CRTC_W"), value("CRTC_H"));
            require(size == (mode.size().0.into(), mode.size().1.into()), Errno::INVAL)?;
        }
        Ok(())
    }

    fn connectors_of(&self, values: &Values, crtc: u32) -> Vec<u32> {
        let connectors = self.connectors().into_iter();
        connectors.filter(|id| self.value_in(values, *id, "CRTC_ID") == Some(crtc.into())).collect()
    }

    fn check_crtc(&self, values: &Values, crtc: u32) -> Checked {
        let is_enabled = self.mode_in(values, crtc).is_some();
        let is_active = self.value_in(values, crtc, "ACTIVE") == Some(1);
        let connectors = self.connectors_of(values, crtc);
        require(is_enabled || !is_active, Errno::INVAL)?;
        require(is_enabled != connectors.is_empty(), Errno::INVAL)?;
        for connector in connectors {
            let encoder = match self.objects.get(&connector) {
                Some(Object::Connector(connector)) => self.objects.get(&connector.encoder),
                _ => None,
            };
            let Some(Object::Encoder { possible_crtcs, .. }) = encoder else { return Err(Errno::INVAL) };
            require(self.can_drive(*possible_crtcs, crtc), Errno::INVAL)?;
        }
        Ok(())
    }

    fn needs_modeset(&self, values: &Values, crtc: u32) -> bool {
        let connectors = self.connectors_of(values, crtc);
        let links = |values: &Values| -> Vec<Option<u64>> {
            let of = |connector: &u32| {
                ["max bpc", "link-status"].map(|name| self.value_in(values, *connector, name))
            };
            connectors.iter().flat_map(of).collect()
        };
        self.mode_in(&self.values, crtc) != self.mode_in(values, crtc)
            || self.value(crtc, "ACTIVE") != self.value_in(values, crtc, "ACTIVE")
            || self.connectors_of(&self.values, crtc) != connectors
            || links(&self.values) != links(values)
    }

    /// Fences and damage apply to one commit (__drm_atomic_helper_plane_duplicate_state()).
    fn reset_one_time_properties(&mut self) {
        for plane in self.planes() {
            self.set_value(plane, "IN_FENCE_FD", u64::MAX);
            self.set_value(plane, "FB_DAMAGE_CLIPS", 0);
        }
    }
}
