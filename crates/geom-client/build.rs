//! The shared library's soname: programs ask the loader for the ABI that they were built against.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libgeom_client.so.0");
}
