//! Reads every KMS property of a card, or sets some as a display server does that leaves them behind.

use anyhow::{Context, Result};
use clap::Parser;
use drm::control::{property, Device as ControlDevice, ResourceHandle};
use drm::{ClientCapability, Device};
use geom_lab::Card;

/// Prints `connector 31 Colorspace = BT2020_RGB` for each property of connectors and CRTCs.
#[derive(Parser)]
struct Options {
    #[arg(long, default_value = "/dev/dri/card0")]
    card: String,
    /// Set this first, wherever it can be: NAME=VALUE, a value by its name or number, or for blobs
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
        let place = names.iter().position(|value| value.name().to_string_lossy() == text);
        return Ok(numbers[place.with_context(|| format!("no value {text}"))?]);
    }
    Ok(text.parse()?)
}

fn show<T: ResourceHandle>(card: &Card, kind: &str, handle: T, set: &[(&str, &str)]) -> Result<()> {
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
    card.set_client_capability(ClientCapability::Atomic, true)?;
    let set: Option<Vec<(&str, &str)>> = options.set.iter().map(|text| text.split_once('=')).collect();
    let set = set.context("write NAME=VALUE")?;
    let resources = card.resource_handles()?;
    for connector in resources.connectors() {
        show(&card, "connector", *connector, &set)?;
    }
    for crtc in resources.crtcs() {
        show(&card, "crtc", *crtc, &set)?;
    }
    Ok(())
}
