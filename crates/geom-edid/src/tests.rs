use proptest::prelude::*;

use super::*;

/// Returns a base block with a name, a serial number and a preferred mode.
fn block() -> Vec<u8> {
    let mut block = vec![0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
    // "GSM", product 0x1234, no serial number, week 9 of 2020, EDID 1.4, digital, 10 bits over
    // DisplayPort, 60 cm by 34 cm
    block.extend([0x1e, 0x6d, 0x34, 0x12, 0, 0, 0, 0, 9, 30, 1, 4, 0xb5, 60, 34, 120, 0x0a]);
    block.resize(54, 0);
    // 1920x1080 at 60 Hz (CTA-861, code 16)
    block.extend([
        0x02, 0x3a, 0x80, 0x18, 0x71, 0x38, 0x2d, 0x40, 0x58, 0x2c, 0x45, 0, 0x58, 0x54, 0x21, 0, 0, 0x1e,
    ]);
    for (tag, text) in [(0xfc, "A monitor"), (0xff, "77-X"), (0x10, "")] {
        let mut descriptor = vec![0, 0, 0, tag, 0];
        descriptor.extend(text.bytes().chain([b'\n']).chain(std::iter::repeat(b' ')).take(13));
        block.extend(descriptor);
    }
    block.extend([0, 0]);
    set_checksum(&mut block);
    block
}

/// Sets the checksum of the last block.
fn set_checksum(bytes: &mut [u8]) {
    let from = bytes.len() - BLOCK;
    let sum = bytes[from..bytes.len() - 1].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(last) = bytes.last_mut() {
        *last = sum.wrapping_neg();
    }
}

#[test]
fn base_block_is_decoded() -> Result<(), ParseError> {
    let edid = Edid::parse(&block())?;
    assert_eq!(edid.problems, Vec::<String>::new());
    assert_eq!((edid.make.as_str(), edid.model().as_str()), ("GSM", "A monitor"));
    assert_eq!(edid.any_serial().as_deref(), Some("77-X"));
    assert_eq!((edid.week, edid.year, edid.version), (Some(9), 2020, (1, 4)));
    let preferred = edid.preferred().map(|timing| (timing.width, timing.height, timing.refresh().round()));
    assert_eq!(preferred, Some((1920, 1080, 60.0)));
    assert_eq!(edid.millimeters(), Some((600, 340)));
    let depth = match edid.video {
        Video::Digital(digital) => digital.depth,
        Video::Analog(_) => None,
    };
    assert_eq!(depth, Some(10));
    Ok(())
}

#[test]
fn damaged_blocks_are_reported_and_decoded() -> Result<(), ParseError> {
    let mut bytes = block();
    bytes[127] ^= 1;
    let edid = Edid::parse(&bytes)?;
    assert_eq!(edid.problems, ["the base block's checksum is wrong"]);
    assert_eq!(edid.model(), "A monitor");
    let edid = Edid::parse(&bytes[..60])?;
    assert_eq!(edid.problems, ["the base block is truncated after 60 bytes"]);
    assert_eq!(edid.make, "GSM");
    let mut bytes = block();
    bytes[126] = 1;
    set_checksum(&mut bytes);
    assert_eq!(
        Edid::parse(&bytes)?.problems,
        ["the base block declares 1 extension blocks, but there are 0"]
    );
    Ok(())
}

#[test]
fn bytes_that_are_not_an_edid_are_refused() {
    assert_eq!(Edid::parse(&[]), Err(ParseError::TooShort(0)));
    assert_eq!(Edid::parse(&block()[..17]), Err(ParseError::TooShort(17)));
    assert_eq!(Edid::parse(&[0; 256]), Err(ParseError::Empty));
    assert_eq!(Edid::parse(&[0x55; 128]), Err(ParseError::Header));
}

#[test]
fn hdr_colorimetry_and_video_codes_of_a_cta_block_are_decoded() -> Result<(), ParseError> {
    let mut bytes = block();
    bytes[126] = 1;
    set_checksum(&mut bytes);
    // HDR with PQ, 96 being 400 cd/m²; BT.2020 RGB; VIC 97, and VIC 16 as native
    let data = [0xe6, 6, 0x05, 1, 96, 96, 128, 0xe3, 5, 0x80, 0x80, 0x42, 97, 0x90];
    let mut extension = vec![2, 3, 4 + data.len() as u8, 0];
    extension.extend(data);
    extension.resize(BLOCK, 0);
    bytes.extend(extension);
    set_checksum(&mut bytes);
    let edid = Edid::parse(&bytes)?;
    assert_eq!(edid.problems, Vec::<String>::new());
    let hdr = edid.hdr.map(|hdr| (hdr.sdr, hdr.pq, hdr.hlg, hdr.max_luminance, hdr.min_luminance));
    let min = 400.0 * (128.0f64 / 255.0).powi(2) / 100.0;
    assert_eq!(hdr, Some((true, true, false, Some(400.0), Some(min))));
    assert!(edid.colorimetry.bt2020_rgb && edid.colorimetry.dci_p3 && !edid.colorimetry.bt2020_ycc);
    let codes: Vec<_> = edid.codes.iter().map(|code| (code.code, code.native)).collect();
    assert_eq!(codes, [(97, false), (16, true)]);
    assert!(report::describe(&edid).contains("PQ; "));
    Ok(())
}

/// Returns an EDID whose base block has a name and no serial number as text, and whose CTA block
/// has a detailed timing, a serial number and a text.
fn with_descriptors_in_cta(serial: &str) -> Vec<u8> {
    let mut bytes = block();
    // The serial number becomes an unused descriptor.
    bytes[90..108].copy_from_slice(&[0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes[126] = 1;
    set_checksum(&mut bytes);
    let timing = bytes[54..72].to_vec();
    let mut extension = vec![2, 3, 4, 0];
    extension.extend(timing);
    for (tag, text) in [(0xff, serial), (0xfc, "Other name"), (0xfe, "Panel 7")] {
        extension.extend([0, 0, 0, tag, 0]);
        extension.extend(text.bytes().chain([b'\n']).chain(std::iter::repeat(b' ')).take(13));
    }
    extension.resize(BLOCK, 0);
    bytes.extend(extension);
    set_checksum(&mut bytes);
    bytes
}

#[test]
fn twins_differ_by_a_serial_number_in_the_cta_block() -> Result<(), ParseError> {
    let one = Edid::parse(&with_descriptors_in_cta("H4ZN000001"))?;
    let other = Edid::parse(&with_descriptors_in_cta("H4ZN000002"))?;
    assert_eq!(one.any_serial().as_deref(), Some("H4ZN000001"));
    assert_ne!(one.any_serial(), other.any_serial());
    assert_eq!(one.model(), "A monitor", "the base block has precedence");
    assert_eq!((one.texts, one.problems), (vec!["Panel 7".to_owned()], Vec::new()));
    assert_eq!(one.timings.iter().filter(|timing| timing.source == Source::Cta).count(), 1);
    Ok(())
}

/// Some monitors have the timing after the display descriptors.
#[test]
fn timing_after_a_display_descriptor_of_the_cta_block_is_decoded() -> Result<(), ParseError> {
    let mut bytes = with_descriptors_in_cta("1");
    let descriptors = BLOCK + 4..BLOCK + 4 + 36;
    bytes[descriptors].rotate_left(18);
    set_checksum(&mut bytes);
    let edid = Edid::parse(&bytes)?;
    assert_eq!(edid.any_serial().as_deref(), Some("1"));
    assert_eq!(edid.timings.iter().filter(|timing| timing.source == Source::Cta).count(), 1);
    Ok(())
}

#[test]
fn empty_serial_number_of_the_base_block_gives_way() -> Result<(), ParseError> {
    let mut bytes = with_descriptors_in_cta("42");
    bytes[90..96].copy_from_slice(&[0, 0, 0, 0xff, 0, b'\n']);
    bytes[96..108].fill(b' ');
    let sum = bytes[..127].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[127] = sum.wrapping_neg();
    assert_eq!(Edid::parse(&bytes)?.any_serial().as_deref(), Some("42"));
    Ok(())
}

proptest! {
    /// Any bytes, and any bytes after a valid base block, decode without a panic to finite numbers.
    #[test]
    fn any_bytes_decode_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..700),
        tags in prop::collection::vec(prop_oneof![Just(2u8), Just(0x70u8), any::<u8>()], 0..5),
    ) {
        let _ = Edid::parse(&bytes);
        let mut framed = block();
        for (index, tag) in tags.into_iter().enumerate() {
            framed.push(tag);
            let length = if bytes.is_empty() { 0 } else { BLOCK - 1 };
            framed.extend(bytes.iter().cycle().skip(index * 31).take(length));
        }
        if let Ok(edid) = Edid::parse(&framed) {
            prop_assert!(!report::describe(&edid).is_empty());
            prop_assert!(edid.timings.iter().all(|timing| timing.refresh().is_finite()));
        }
    }
}
