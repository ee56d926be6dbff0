//! Prints the KMS properties of a card, or sets some, as a display server does that does not reset
//! them.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use clap::Parser;
use drm::control::{plane, property, Device as ControlDevice, RawResourceHandle, ResourceHandle};
use drm::{ClientCapability, Device};
use geom_lab::Card;

/// Prints `connector 31 Colorspace = BT2020_RGB` for each property of connectors and CRTCs, and for
/// planes the selected color pipeline and the properties of all colorops.
#[derive(Parser)]
struct Options {
    /// The card's device file.
    #[arg(long, default_value = "/dev/dri/card0")]
    card: String,
    /// First set this on every object that has it: NAME=VALUE; may be repeated.
    ///
    /// VALUE is a number, the start of an enum value's name, or for blobs @BYTES in hexadecimal or
    /// @negative, a LUT that inverts colors.
    #[arg(long)]
    set: Vec<String>,
}

/// The size of struct hdr_output_metadata (drm_mode.h) in bytes.
const HDR_METADATA_SIZE: usize = 32;

/// Returns a LUT of 256 struct drm_color_lut that inverts each color.
fn inverting_lut() -> [[u16; 4]; 256] {
    std::array::from_fn(|step| {
        let value = 0xffff - step as u16 * 0x101;
        [value, value, value, 0]
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<char> = text.chars().collect();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16));
    pairs.collect::<Result<_, _>>().with_context(|| format!("{text} is not hexadecimal"))
}

/// Returns the raw value of a property for a value given as text.
fn raw_value(card: &Card, info: &property::Info, text: &str) -> Result<u64> {
    if let Some(hex) = text.strip_prefix('@') {
        let blob = if hex == "negative" {
            // By name: its bytes would be longer than a request to the lab's guest may be.
            card.create_property_blob(&inverting_lut())?
        } else {
            let metadata = <[u8; HDR_METADATA_SIZE]>::try_from(bytes(hex)?.as_slice());
            card.create_property_blob(
                &metadata.with_context(|| format!("HDR metadata has {HDR_METADATA_SIZE} bytes"))?,
            )?
        };
        return Ok(blob.into());
    }
    if let property::ValueType::Enum(values) = info.value_type() {
        let (numbers, names) = values.values();
        let index = names.iter().position(|value| value.name().to_string_lossy().starts_with(text));
        return Ok(numbers[index.with_context(|| format!("no value {text}"))?]);
    }
    Ok(text.parse()?)
}

/// An operation of a color pipeline (DRM_MODE_OBJECT_COLOROP in drm_mode.h).
#[derive(Debug, Clone, Copy)]
struct Colorop(RawResourceHandle);

impl From<RawResourceHandle> for Colorop {
    fn from(raw: RawResourceHandle) -> Self {
        Self(raw)
    }
}

impl From<Colorop> for RawResourceHandle {
    fn from(colorop: Colorop) -> Self {
        colorop.0
    }
}

impl From<Colorop> for u32 {
    fn from(colorop: Colorop) -> Self {
        colorop.0.into()
    }
}

impl ResourceHandle for Colorop {
    const FFI_TYPE: u32 = 0xfafa_fafa;
}

/// DRM_CLIENT_CAP_PLANE_COLOR_PIPELINE (drm.h).
const CAP_PLANE_COLOR_PIPELINE: u64 = 7;

/// Prints a plane's COLOR_PIPELINE and the colorops of all pipelines that it can have.
fn print_pipelines(card: &Card, plane: plane::Handle, set: &[(&str, &str)]) -> Result<()> {
    let mut colorops = Vec::new();
    for (id, _) in card.get_properties(plane)? {
        let info = card.get_property(id)?;
        if info.name().to_bytes() != b"COLOR_PIPELINE" {
            continue;
        }
        if let property::ValueType::Enum(values) = info.value_type() {
            colorops.extend(values.values().0.iter().copied().filter(|id| *id != 0));
        }
    }
    let set: Vec<_> = set.iter().copied().filter(|(name, _)| *name == "COLOR_PIPELINE").collect();
    print_properties(card, "plane", plane, &set, Some("COLOR_PIPELINE"))?;
    while let Some(id) = colorops.pop() {
        let raw = u32::try_from(id).ok().and_then(RawResourceHandle::new).context("the id of a colorop")?;
        print_properties(card, "colorop", Colorop(raw), &[], None)?;
        for (property, value) in card.get_properties(Colorop(raw))? {
            let is_next = card.get_property(property)?.name().to_bytes() == b"NEXT";
            colorops.extend(Some(value).filter(|value| is_next && *value != 0));
        }
    }
    Ok(())
}

/// Sets properties of an object, then prints all, or only one.
fn print_properties<T: ResourceHandle>(
    card: &Card,
    kind: &str,
    handle: T,
    set: &[(&str, &str)],
    only: Option<&str>,
) -> Result<()> {
    for (id, _) in card.get_properties(handle)? {
        let info = card.get_property(id)?;
        let name = info.name().to_string_lossy();
        for (_, value) in set.iter().filter(|(wanted, _)| *wanted == name) {
            let value = raw_value(card, &info, value).with_context(|| format!("set {name}"))?;
            card.set_property(handle, id, value).with_context(|| format!("set {name}"))?;
        }
    }
    for (id, value) in card.get_properties(handle)? {
        let info = card.get_property(id)?;
        if only.is_some_and(|only| info.name().to_string_lossy() != only) {
            continue;
        }
        let text = match info.value_type() {
            property::ValueType::Enum(values) => values
                .get_value_from_raw_value(value)
                .map_or_else(|| value.to_string(), |value| value.name().to_string_lossy().into_owned()),
            property::ValueType::Blob if value != 0 => hexadecimal(&card.get_property_blob(value)?),
            _ => value.to_string(),
        };
        let object: drm::control::RawResourceHandle = handle.into();
        println!("{kind} {object} {} = {text}", info.name().to_string_lossy());
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    let card = Card::open(&options.card)?;
    card.set_client_capability(ClientCapability::UniversalPlanes, true)?;
    card.set_client_capability(ClientCapability::Atomic, true)?;
    drm_ffi::set_capability(card.as_fd(), CAP_PLANE_COLOR_PIPELINE, true)?;
    let set: Option<Vec<(&str, &str)>> = options.set.iter().map(|text| text.split_once('=')).collect();
    let set = set.context("--set needs NAME=VALUE")?;
    let resources = card.resource_handles()?;
    for connector in resources.connectors() {
        print_properties(&card, "connector", *connector, &set, None)?;
    }
    for crtc in resources.crtcs() {
        print_properties(&card, "crtc", *crtc, &set, None)?;
    }
    for plane in card.plane_handles()? {
        print_pipelines(&card, plane, &set)?;
    }
    Ok(())
}
