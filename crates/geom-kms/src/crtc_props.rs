//! Properties of CRTCs (drm_color_mgmt.c, drm_crtc.c).

use std::io;

use drm::control::{crtc, property};

use crate::color_luts::CrtcColor;
use crate::commit::AtomicRequest;
use crate::properties::Properties;

/// Ids of a CRTC's properties.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CrtcPropIds {
    pub active: property::Handle,
    pub mode_id: property::Handle,
    degamma_lut: Option<property::Handle>,
    degamma_size: usize,
    ctm: Option<property::Handle>,
    gamma_lut: Option<property::Handle>,
    /// Entries of the gamma LUT; 0 without one.
    pub gamma_size: usize,
    vrr_enabled: Option<property::Handle>,
}

impl CrtcPropIds {
    /// # Errors
    ///
    /// If the driver lacks a property that atomic drivers have.
    pub fn read(properties: &Properties) -> io::Result<Self> {
        let size =
            |name: &str| properties.value(name).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        Ok(Self {
            active: properties.required("ACTIVE")?,
            mode_id: properties.required("MODE_ID")?,
            degamma_lut: properties.id("DEGAMMA_LUT"),
            degamma_size: size("DEGAMMA_LUT_SIZE"),
            ctm: properties.id("CTM"),
            gamma_lut: properties.id("GAMMA_LUT"),
            gamma_size: size("GAMMA_LUT_SIZE"),
            vrr_enabled: properties.id("VRR_ENABLED"),
        })
    }

    /// Returns the entries of the LUTs before and after the matrix; `None` without all three.
    pub fn lut_sizes(&self) -> Option<(usize, usize)> {
        self.degamma_lut.and(self.ctm).and(self.gamma_lut)?;
        Some((self.degamma_size, self.gamma_size))
    }

    /// Sets the color pipeline. Without blobs, pixels pass unchanged.
    pub fn set_color(&self, crtc: crtc::Handle, color: &CrtcColor, request: &mut AtomicRequest) {
        let blobs = [(self.degamma_lut, color.degamma), (self.ctm, color.ctm), (self.gamma_lut, color.gamma)];
        for (id, blob) in blobs {
            if let Some(id) = id {
                request.set(crtc, id, blob);
            }
        }
    }

    /// Sets whether the refresh rate is variable.
    pub fn set_vrr(&self, crtc: crtc::Handle, vrr: bool, request: &mut AtomicRequest) {
        if let Some(id) = self.vrr_enabled {
            request.set(crtc, id, vrr.into());
        }
    }
}
