//! Connector properties of the signal: which a connector has, and what is written to them.
//!
//! An enabled output gets what its [`SignalFormat`] says; a connector without one gets the defaults
//! back, so that nothing of another program's color is left. Source: the kernel's drm_connector.c.

use std::io;

use drm::control::{connector, property};
use geom_display::output_config::Transform;
use geom_display::signal_format::{
    Capabilities, Colorimetry, ContentType, MonitorColor, RgbRange, Scaling, SignalFormat,
};
use strum::VariantArray;

use crate::calls::PropertyKind;
use crate::commit::AtomicRequest;
use crate::drm_fd::{Blob, DrmFd};
use crate::properties::Properties;

/// Largest `max bpc` that is used, in bits per color.
const MAX_BPC: u64 = 16;

/// An enum property, and the numbers of the values that we use.
#[derive(Debug, Clone)]
struct EnumProperty<T> {
    id: property::Handle,
    values: Vec<(T, u64)>,
    /// Its value at the last probe.
    current: u64,
}

impl<T: Copy + PartialEq + strum::EnumProperty + VariantArray> EnumProperty<T> {
    fn read(properties: &Properties, name: &str) -> Option<Self> {
        let (id, current) = (properties.id(name)?, properties.value(name)?);
        let Some(PropertyKind::Enum(choices)) = properties.kind(name) else { return None };
        let number = |name: &str| choices.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
        let with_number = |value: &T| Some((*value, number(value.get_str("kms")?)?));
        let values = T::VARIANTS.iter().filter_map(with_number).collect();
        Some(Self { id, values, current })
    }

    /// Returns what to write for a value; `None` if the driver does not know it.
    fn write(&self, value: T) -> Option<(property::Handle, u64)> {
        self.values.iter().find(|(known, _)| *known == value).map(|(_, number)| (self.id, *number))
    }

    /// Returns what to write to reset it; `None` if it has that value.
    fn reset(&self, default: T) -> Option<(property::Handle, u64)> {
        self.write(default).filter(|(_, number)| *number != self.current)
    }
}

/// Values of `panel orientation` (drm_connector.c), and the transform that turns an image upright:
/// if the left side of a panel is up, the image is turned to the left on it.
const PANEL_ORIENTATIONS: [(&str, Transform); 4] = [
    ("Normal", Transform::Normal),
    ("Upside Down", Transform::Rotated180),
    ("Left Side Up", Transform::Rotated90),
    ("Right Side Up", Transform::Rotated270),
];

/// Returns the transform of a panel that is built in turned. The kernel knows from the firmware,
/// and has a list of devices.
pub(crate) fn panel_orientation(properties: &Properties) -> Transform {
    let value = properties.value("panel orientation");
    let mut choices = properties.choices("panel orientation").iter();
    let name = choices.find(|(_, number)| Some(*number) == value).map(|(name, _)| name.as_str());
    let known = PANEL_ORIENTATIONS.iter().find(|(known, _)| Some(*known) == name);
    known.map(|(_, transform)| *transform).unwrap_or_default()
}

/// Ids of a connector's properties, and some values at the last probe.
#[derive(Debug, Clone, Default)]
pub struct ConnectorPropIds {
    colorspace: Option<EnumProperty<Colorimetry>>,
    rgb_range: Option<EnumProperty<RgbRange>>,
    content_type: Option<EnumProperty<ContentType>>,
    scaling: Option<EnumProperty<Scaling>>,
    /// Its id and value.
    hdr_metadata: Option<(property::Handle, u64)>,
    /// Its id, minimum and maximum.
    max_bpc: Option<(property::Handle, (u8, u8))>,
    /// Value of `max bpc`.
    pub(crate) bit_depth: Option<u8>,
    vrr_capable: bool,
    link: Option<LinkStatus>,
}

/// The `link-status` property. The kernel sets BAD when training of the link failed: the monitor
/// gets no image until a modeset that writes GOOD (drm_connector.c).
#[derive(Debug, Clone, Copy)]
struct LinkStatus {
    id: property::Handle,
    /// The number of GOOD.
    good: u64,
    /// Whether it was BAD at the last probe.
    is_bad: bool,
}

impl LinkStatus {
    fn read(properties: &Properties) -> Option<Self> {
        let choices = properties.choices("link-status");
        let good = choices.iter().find(|(name, _)| name == "Good").map(|(_, number)| *number)?;
        let value = properties.value("link-status")?;
        Some(Self { id: properties.id("link-status")?, good, is_bad: value != good })
    }
}

impl ConnectorPropIds {
    /// Reads them from a connector's properties.
    pub fn read(properties: &Properties) -> Self {
        let range = match properties.kind("max bpc") {
            Some(PropertyKind::Range(min, max)) => {
                u8::try_from(*min).ok().zip(u8::try_from((*max).min(MAX_BPC)).ok())
            }
            _ => None,
        };
        Self {
            colorspace: EnumProperty::read(properties, "Colorspace"),
            rgb_range: EnumProperty::read(properties, "Broadcast RGB"),
            content_type: EnumProperty::read(properties, "content type"),
            scaling: EnumProperty::read(properties, "scaling mode"),
            hdr_metadata: properties.id("HDR_OUTPUT_METADATA").zip(properties.value("HDR_OUTPUT_METADATA")),
            max_bpc: properties.id("max bpc").zip(range),
            bit_depth: properties.value("max bpc").and_then(|depth| u8::try_from(depth).ok()),
            vrr_capable: properties.value("vrr_capable") == Some(1),
            link: LinkStatus::read(properties),
        }
    }

    /// Returns whether the link had failed at the last probe.
    pub fn is_link_bad(&self) -> bool {
        self.link.is_some_and(|link| link.is_bad)
    }

    /// Writes that the link is good, which makes the kernel train it again if it has failed. The
    /// kernel ignores it otherwise.
    pub(crate) fn set_link_good(&self, connector: connector::Handle, request: &mut AtomicRequest) {
        if let Some(link) = self.link {
            request.set(connector, link.id, link.good);
        }
    }

    /// Returns what the connector and its monitor support. The device adds `inherited_depth`, and
    /// the owner of the renderer `converts`.
    pub fn capabilities(&self, monitor: MonitorColor) -> Capabilities {
        Capabilities {
            colorimetries: values(&self.colorspace),
            scalings: values(&self.scaling),
            hdr_metadata: self.hdr_metadata.is_some(),
            depth: self.max_bpc.map(|(_, range)| range),
            inherited_depth: None,
            rgb_range: self.rgb_range.is_some(),
            content_type: self.content_type.is_some(),
            vrr: self.vrr_capable,
            converts: false,
            monitor,
        }
    }

    /// Sets the signal format of an enabled output, and that its link is good. The blobs must live
    /// until the request is committed.
    ///
    /// # Errors
    ///
    /// Returns the kernel's error: no memory for a blob.
    pub(crate) fn set(
        &self,
        fd: &DrmFd,
        connector: connector::Handle,
        signal: &SignalFormat,
        request: &mut AtomicRequest,
        blobs: &mut Vec<Blob>,
    ) -> io::Result<()> {
        let enums = [
            self.colorspace.as_ref().and_then(|property| property.write(signal.colorimetry)),
            self.rgb_range.as_ref().and_then(|property| property.write(signal.rgb_range)),
            self.content_type.as_ref().and_then(|property| property.write(signal.content_type)),
            self.scaling.as_ref().and_then(|property| property.write(signal.scaling)),
            self.max_bpc.zip(signal.bit_depth).map(|((id, _), depth)| (id, depth.into())),
        ];
        for (id, value) in enums.into_iter().flatten() {
            request.set(connector, id, value);
        }
        self.set_link_good(connector, request);
        if let Some((id, _)) = self.hdr_metadata {
            let blob = match signal.hdr {
                Some(metadata) => {
                    let blob = Blob::new(fd, &mut metadata.to_bytes())?;
                    let number = blob.id();
                    blobs.push(blob);
                    number
                }
                None => 0,
            };
            request.set(connector, id, blob);
        }
        Ok(())
    }

    /// Resets a connector that is not enabled: the next program's image would have our color, or
    /// that of the program before us. Properties that have their default are left out, as some
    /// drivers refuse requests about a connector that is off.
    pub(crate) fn reset(&self, connector: connector::Handle, request: &mut AtomicRequest) {
        let defaults = [
            self.colorspace.as_ref().and_then(|property| property.reset(Colorimetry::Default)),
            self.rgb_range.as_ref().and_then(|property| property.reset(RgbRange::Automatic)),
            self.content_type.as_ref().and_then(|property| property.reset(ContentType::None)),
            self.scaling.as_ref().and_then(|property| property.reset(Scaling::None)),
            self.hdr_metadata.and_then(|(id, current)| (current != 0).then_some((id, 0))),
        ];
        for (id, value) in defaults.into_iter().flatten() {
            request.set(connector, id, value);
        }
    }
}

fn values<T: Copy>(property: &Option<EnumProperty<T>>) -> Vec<T> {
    property.iter().flat_map(|property| property.values.iter().map(|(value, _)| *value)).collect()
}
