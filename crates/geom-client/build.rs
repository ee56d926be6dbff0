//! Sets the shared library's soname, so that a program loads the ABI version that it was built
//! against.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libgeom_client.so.0");
}
