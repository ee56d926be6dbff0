#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| geom_fuzz::must(geom_fuzz::edid(bytes)));
