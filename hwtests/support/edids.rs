//! EDIDs of real monitors (hwtests/edid/).

use std::path::Path;

use anyhow::{Context, Result};

/// A monitor of 1366x768, by its vendor and model in the data set.
pub const AOC: &str = "AOC1970";
/// A monitor of 1280x1024.
pub const LG: &str = "GSM43F1";
/// A television of 1920x1080 that takes BT.2020 with PQ and HLG.
pub const HDR: &str = "PHL01EA";
/// A monitor with variable refresh from 48 to 144 Hz.
pub const VRR: &str = "AOC2402";

/// All EDIDs, each with its path in the data set.
pub fn corpus() -> Result<Vec<(String, Vec<u8>)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hwtests/edid/corpus.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    text.lines()
        .map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line)?;
            let field = |name: &str| entry[name].as_str().with_context(|| name.to_owned());
            let digits = field("edid")?;
            let bytes: Result<Vec<u8>, _> = (0..digits.len() / 2)
                .map(|place| u8::from_str_radix(digits.get(2 * place..2 * place + 2).unwrap_or("?"), 16))
                .collect();
            Ok((field("path")?.to_owned(), bytes?))
        })
        .collect()
}

/// The EDID of a real monitor, by its vendor and model in the data set.
pub fn edid(model: &str) -> Result<Vec<u8>> {
    let found = corpus()?.into_iter().find(|(path, _)| path.contains(model));
    Ok(found.with_context(|| format!("no {model} in the corpus"))?.1)
}

/// The EDID of a headset that the kernel knows as non-desktop (HVR 0xaa01, edid_quirk_list in
/// drivers/gpu/drm/drm_edid.c).
pub fn headset() -> Result<Vec<u8>> {
    let mut bytes = edid(AOC)?;
    bytes[8..12].copy_from_slice(&[0x22, 0xd2, 0x01, 0xaa]);
    bytes[127] = 0;
    bytes[127] = bytes[..127].iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    Ok(bytes)
}
