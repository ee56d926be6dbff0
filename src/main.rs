//! The `geom_compositor` program; its body is the library of the same name.

fn main() -> std::process::ExitCode {
    geom_compositor::main()
}
