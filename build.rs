//! Packs the relocations of the position-independent program: a tenth of a megabyte to read at its
//! start instead of one.

fn main() {
    // DT_RELR: glibc 2.36, GNU ld 2.38 or lld.
    println!("cargo:rustc-link-arg-bin=geom_compositor=-Wl,-z,pack-relative-relocs");
    println!("cargo:rerun-if-changed=build.rs");
}
