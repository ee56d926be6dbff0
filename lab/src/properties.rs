//! Reads every KMS property of a card, or sets some as a display server does that leaves them behind.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use clap::Parser;
use drm::control::{plane, property, Device as ControlDevice, RawResourceHandle, ResourceHandle};
use drm::{ClientCapability, Device};
use geom_lab::Card;

/// Prints `connector 31 Colorspace = BT2020_RGB` for each property of connectors, CRTCs and the operations of planes' colour
/// pipelines, and which pipeline a plane has.
#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "/dev/dri/card0")]
    card: String,
    /// Set this first, wherever it can be: NAME=VALUE, a value by its name's start or its number, or for blobs
    /// @BYTES in hexadecimal or @negative.
    #[arg(long)]
    set: Vec<String>,
}

/// The size of struct hdr_output_metadata (drm_mode.h).
const METADATA: usize = 32;

/// 256 of struct drm_color_lut that turn each colour into its opposite.
fn negative() -> [[u16; 4]; 256] {
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

/// What is written for a value that was given as text.
fn number(card: &Card, info: &property::Info, text: &str) -> Result<u64> {
    if let Some(hex) = text.strip_prefix('@') {
        let blob = if hex == "negative" {
            // Longer than a line to the lab's guest may be.
            card.create_property_blob(&negative())?
        } else {
            let metadata = <[u8; METADATA]>::try_from(bytes(hex)?.as_slice());
            card.create_property_blob(
                &metadata.with_context(|| format!("HDR metadata has {METADATA} bytes"))?,
            )?
        };
        return Ok(blob.into());
    }
    if let property::ValueType::Enum(values) = info.value_type() {
        let (numbers, names) = values.values();
        let place = names.iter().position(|value| value.name().to_string_lossy().starts_with(text));
        return Ok(numbers[place.with_context(|| format!("no value {text}"))?]);
    }
    Ok(text.parse()?)
}

/// An operation of a colour pipeline (DRM_MODE_OBJECT_COLOROP in drm_mode.h).
#[derive(Debug, Clone, Copy)]
struct Operation(RawResourceHandle);

impl From<RawResourceHandle> for Operation {
    fn from(raw: RawResourceHandle) -> Self {
        Self(raw)
    }
}

impl From<Operation> for RawResourceHandle {
    fn from(operation: Operation) -> Self {
        operation.0
    }
}

impl From<Operation> for u32 {
    fn from(operation: Operation) -> Self {
        operation.0.into()
    }
}

impl ResourceHandle for Operation {
    const FFI_TYPE: u32 = 0xfafa_fafa;
}

/// DRM_CLIENT_CAP_PLANE_COLOR_PIPELINE (drm.h).
const PIPELINES: u64 = 7;

/// What a plane's COLOR_PIPELINE is, and the operations of all that it could be.
fn show_pipelines(card: &Card, plane: plane::Handle, set: &[(&str, &str)]) -> Result<()> {
    let mut operations = Vec::new();
    for (id, _) in card.get_properties(plane)? {
        let info = card.get_property(id)?;
        if info.name().to_bytes() != b"COLOR_PIPELINE" {
            continue;
        }
        if let property::ValueType::Enum(values) = info.value_type() {
            operations.extend(values.values().0.iter().copied().filter(|number| *number != 0));
        }
    }
    let set: Vec<_> = set.iter().copied().filter(|(name, _)| *name == "COLOR_PIPELINE").collect();
    show(card, "plane", plane, &set, Some("COLOR_PIPELINE"))?;
    while let Some(number) = operations.pop() {
        let raw =
            u32::try_from(number).ok().and_then(RawResourceHandle::new).context("an object's number")?;
        show(card, "colorop", Operation(raw), &[], None)?;
        for (id, value) in card.get_properties(Operation(raw))? {
            let is_next = card.get_property(id)?.name().to_bytes() == b"NEXT";
            operations.extend(Some(value).filter(|value| is_next && *value != 0));
        }
    }
    Ok(())
}

/// All properties of an object, or one.
fn show<T: ResourceHandle>(
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
            let value = number(card, &info, value).with_context(|| format!("set {name}"))?;
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
    drm_ffi::set_capability(card.as_fd(), PIPELINES, true)?;
    let set: Option<Vec<(&str, &str)>> = options.set.iter().map(|text| text.split_once('=')).collect();
    let set = set.context("write NAME=VALUE")?;
    let resources = card.resource_handles()?;
    for connector in resources.connectors() {
        show(&card, "connector", *connector, &set, None)?;
    }
    for crtc in resources.crtcs() {
        show(&card, "crtc", *crtc, &set, None)?;
    }
    for plane in card.plane_handles()? {
        show_pipelines(&card, plane, &set)?;
    }
    Ok(())
}
