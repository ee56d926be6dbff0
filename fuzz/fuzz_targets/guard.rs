#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| geom_fuzz::abort_on_violation(geom_fuzz::guard(bytes)));
