//! KMS properties of the link: which a connector and a CRTC have, and what is written to them.
//!
//! One table for all: what a display's [`SignalFormat`] says, or else what leaves nothing behind of another program's. Source: the kernel's
//! drm_connector.c and drm_color_mgmt.c.

use std::io;

use drm::control::atomic::AtomicModeReq;
use drm::control::{connector, crtc, property};
use geom_display::signal_format::{Capabilities, Colorimetry, ContentType, SignalFormat, MonitorColor, RgbRange, Scaling};

use super::drm_fd::{Blob, DrmFd};
use super::objects::{Kind, Properties};
use super::color_luts::CrtcColor;

/// An enumerated property and the numbers of the values that we use.
#[derive(Debug, Clone)]
struct Choice<T> {
    id: property::Handle,
    values: Vec<(T, u64)>,
    /// What it was at the last probe.
    current: u64,
}

impl<T: Copy + PartialEq> Choice<T> {
    fn read(properties: &Properties, name: &str, names: &[(&str, T)]) -> Option<Self> {
        let (id, current) = (properties.id(name)?, properties.value(name)?);
        let Some(Kind::Enum(known)) = properties.kind(name) else { return None };
        let number = |name: &str| known.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
        let values = names.iter().filter_map(|(name, value)| Some((*value, number(name)?))).collect();
        Some(Self { id, values, current })
    }

    fn number(&self, value: T) -> Option<u64> {
        self.values.iter().find(|(known, _)| *known == value).map(|(_, number)| *number)
    }
}

/// What a connector has of the link's properties.
#[derive(Debug, Clone, Default)]
pub struct ConnectorPropIds {
    colorspace: Option<Choice<Colorimetry>>,
    rgb_range: Option<Choice<RgbRange>>,
    content_type: Option<Choice<ContentType>>,
    scaling: Option<Choice<Scaling>>,
    /// With what it was at the last probe.
    hdr_metadata: Option<(property::Handle, u64)>,
    max_bpc: Option<(property::Handle, (u8, u8))>,
    /// Its value at the last probe.
    pub depth: Option<u8>,
    vrr_capable: bool,
}

impl ConnectorPropIds {
    pub fn read(properties: &Properties) -> Self {
        let depth = match properties.kind("max bpc") {
            Some(Kind::Range(least, most)) => {
                u8::try_from(*least).ok().zip(u8::try_from((*most).min(16)).ok())
            }
            _ => None,
        };
        Self {
            colorspace: Choice::read(properties, "Colorspace", &Colorimetry::NAMES),
            rgb_range: Choice::read(properties, "Broadcast RGB", &RgbRange::KMS),
            content_type: Choice::read(properties, "content type", &ContentType::KMS),
            scaling: Choice::read(properties, "scaling mode", &Scaling::KMS),
            hdr_metadata: properties.id("HDR_OUTPUT_METADATA").zip(properties.value("HDR_OUTPUT_METADATA")),
            max_bpc: properties.id("max bpc").zip(depth),
            depth: properties.value("max bpc").and_then(|depth| u8::try_from(depth).ok()),
            vrr_capable: properties.value("vrr_capable") == Some(1),
        }
    }

    pub fn abilities(&self, monitor: MonitorColor) -> Capabilities {
        Capabilities {
            colorimetries: values(&self.colorspace),
            scalings: values(&self.scaling),
            hdr_metadata: self.hdr_metadata.is_some(),
            depth: self.max_bpc.map(|(_, depth)| depth),
            // Known by who had it first.
            inherited_depth: None,
            rgb_range: self.rgb_range.is_some(),
            content_type: self.content_type.is_some(),
            vrr: self.vrr_capable,
            // Known by who has the renderer.
            converts: false,
            monitor,
        }
    }

    /// Writes a lit display's link. The blobs must live until the request is committed.
    pub fn set(
        &self,
        card: &DrmFd,
        connector: connector::Handle,
        link: &SignalFormat,
        request: &mut AtomicModeReq,
        blobs: &mut Vec<Blob>,
    ) -> io::Result<()> {
        let mut write =
            |id: property::Handle, value: u64| request.add_raw_property(connector.into(), id, value);
        if let Some((choice, number)) = numbered(&self.colorspace, link.colorimetry) {
            write(choice, number);
        }
        if let Some((choice, number)) = numbered(&self.rgb_range, link.rgb_range) {
            write(choice, number);
        }
        if let Some((choice, number)) = numbered(&self.content_type, link.content_type) {
            write(choice, number);
        }
        if let Some((choice, number)) = numbered(&self.scaling, link.scaling) {
            write(choice, number);
        }
        if let Some(((id, _), depth)) = self.max_bpc.zip(link.bit_depth) {
            write(id, depth.into());
        }
        if let Some((id, _)) = self.hdr_metadata {
            let blob = match link.hdr {
                Some(metadata) => {
                    let blob = Blob::new(card, &metadata.to_bytes())?;
                    let number = blob.id();
                    blobs.push(blob);
                    number
                }
                None => 0,
            };
            write(id, blob);
        }
        Ok(())
    }

    /// Takes back what another program, or we, left on a connector that shows nothing: the next one's picture would have it. What is
    /// plain already is left alone, as some drivers dislike any word about a connector that is off.
    pub fn reset(&self, connector: connector::Handle, request: &mut AtomicModeReq) {
        let plain = [
            numbered(&self.colorspace, Colorimetry::Default).zip(current(&self.colorspace)),
            numbered(&self.rgb_range, RgbRange::Automatic).zip(current(&self.rgb_range)),
            numbered(&self.content_type, ContentType::None).zip(current(&self.content_type)),
            numbered(&self.scaling, Scaling::None).zip(current(&self.scaling)),
            self.hdr_metadata.map(|(id, current)| ((id, 0), current)),
        ];
        for ((id, plain), current) in plain.into_iter().flatten() {
            if current != plain {
                request.add_raw_property(connector.into(), id, plain);
            }
        }
    }
}

fn numbered<T: Copy + PartialEq>(choice: &Option<Choice<T>>, value: T) -> Option<(property::Handle, u64)> {
    let choice = choice.as_ref()?;
    Some((choice.id, choice.number(value)?))
}

fn values<T: Copy>(choice: &Option<Choice<T>>) -> Vec<T> {
    choice.iter().flat_map(|choice| choice.values.iter().map(|(value, _)| *value)).collect()
}

fn current<T>(choice: &Option<Choice<T>>) -> Option<u64> {
    choice.as_ref().map(|choice| choice.current)
}

/// A CRTC's color pipeline, and its varying refresh.
#[derive(Debug, Clone, Copy, Default)]
pub struct CrtcColorIds {
    degamma_lut: Option<property::Handle>,
    degamma_size: usize,
    ctm: Option<property::Handle>,
    gamma_lut: Option<property::Handle>,
    /// Steps of the gamma table; 0 without one.
    pub gamma_size: usize,
    vrr_enabled: Option<property::Handle>,
}

impl CrtcColorIds {
    pub fn read(properties: &Properties) -> Self {
        let size =
            |name: &str| properties.value(name).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        Self {
            degamma_lut: properties.id("DEGAMMA_LUT"),
            degamma_size: size("DEGAMMA_LUT_SIZE"),
            ctm: properties.id("CTM"),
            gamma_lut: properties.id("GAMMA_LUT"),
            gamma_size: size("GAMMA_LUT_SIZE"),
            vrr_enabled: properties.id("VRR_ENABLED"),
        }
    }

    /// Steps of the tables before and after the matrix; none where any of them is not there.
    pub fn pipeline_sizes(&self) -> Option<(usize, usize)> {
        self.degamma_lut.and(self.ctm).and(self.gamma_lut)?;
        Some((self.degamma_size, self.gamma_size))
    }

    pub fn set(&self, crtc: crtc::Handle, vrr: bool, color: &CrtcColor, request: &mut AtomicModeReq) {
        self.set_colours(crtc, color, request);
        if let Some(id) = self.vrr_enabled {
            request.add_raw_property(crtc.into(), id, vrr.into());
        }
    }

    /// Pixels pass unchanged where there is none.
    pub fn set_colours(&self, crtc: crtc::Handle, color: &CrtcColor, request: &mut AtomicModeReq) {
        let all =
            [(self.degamma_lut, color.degamma), (self.ctm, color.ctm), (self.gamma_lut, color.gamma)];
        for (id, blob) in all {
            if let Some(id) = id {
                request.add_raw_property(crtc.into(), id, blob);
            }
        }
    }
}
