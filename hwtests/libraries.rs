//! The C, C++ and Python libraries, built as their users build them: with a headless service, and
//! in the lab.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::ExitStatus;

use crate::support::harness::{built_program, wait_for_pixels, Setup, EXIT_TIMEOUT};
use crate::support::{is_diagnostic_screen, COMPOSITOR};

/// What the C and the C++ program print, for a display D.
const OUTPUT: [&str; 5] =
    ["display D", "event display D", "client Geometry OS Compositor 3", "owns 1", "ended"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command that must succeed; its standard output.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    Ok(text)
}

/// The programs, the library that they load, and the Python module. The folder may be copied.
struct Built {
    folder: PathBuf,
    /// An environment with the module installed by pip.
    python: PathBuf,
}

/// Built once for all tests, or the error.
static BUILT: LazyLock<Result<Built, String>> =
    LazyLock::new(|| build().map_err(|error| format!("{error:#}")));

fn built() -> Result<&'static Built> {
    BUILT.as_ref().map_err(|error| anyhow::anyhow!(error.clone()))
}

fn build() -> Result<Built> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libraries");
    std::fs::create_dir_all(&folder)?;
    let library = built_program("libgeom_client.so")?;
    for name in ["libgeom_client.so", "libgeom_client.so.0"] {
        std::fs::copy(&library, folder.join(name))?;
    }
    // The installed file, with the folders of the build.
    let template = std::fs::read_to_string(root().join("crates/geom-client/geom_compositor.pc.in"))?;
    let includes = root().join("crates/geom-client/include");
    let filled = template
        .replace("@PREFIX@", &folder.display().to_string())
        .replace("@LIBDIR@", &folder.display().to_string())
        .replace("@INCLUDEDIR@", &includes.display().to_string())
        .replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    std::fs::write(folder.join("geom_compositor.pc"), filled)?;
    let mut flags = Command::new("pkg-config");
    flags.args(["--cflags", "--libs", "geom_compositor"]).env("PKG_CONFIG_PATH", &folder);
    let flags = output(&mut flags)?;
    let flags: Vec<&str> = flags.split_whitespace().collect();

    let compile = |compiler: &str, standard: &str, source: &str, program: &str| {
        let source = root().join("examples").join(source);
        let mut command = Command::new(compiler);
        command.args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o"]).arg(folder.join(program));
        output(command.arg(source).arg("-I").arg(root().join("bindings/cpp")).args(&flags))
    };
    compile("cc", "-std=c99", "c/control.c", "c-program")?;
    compile("c++", "-std=c++17", "cpp/control.cpp", "cpp-program")?;

    let python = folder.join("python");
    output(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&python))?;
    let module = root().join("bindings/python");
    output(Command::new(python.join("bin/pip")).args(["-q", "install"]).arg(module))?;
    Ok(Built { folder, python })
}

/// The runtime folder of one program's own service, which is headless.
struct Headless(tempfile::TempDir);

impl Headless {
    fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[PathBuf]) -> Result<String> {
        let mut command = Command::new(program);
        output(
            command
                .args(arguments)
                .env("XDG_RUNTIME_DIR", self.0.path())
                .env("GEOM_COMPOSITOR_EXECUTABLE", built_program("geom_compositor")?)
                .env("GEOM_COMPOSITOR_BACKEND", "headless")
                .env("LD_LIBRARY_PATH", &built()?.folder)
                .env_remove("GEOM_COMPOSITOR_SOCKET"),
        )
    }
}

fn headless() -> Result<Headless> {
    Ok(Headless(tempfile::tempdir()?))
}

/// The expected output, with the size of the display's mode.
fn expected_output(display: &str, size: &str) -> String {
    let text = OUTPUT.map(|line| line.replacen('D', display, 1) + "\n").concat();
    text.replacen(&format!("{display}\n"), &format!("{display} {size}\n"), 1)
}

#[test]
fn c_and_cpp_programs_run_headless() -> Result<()> {
    let built = built()?;
    let expected = expected_output("HEADLESS-1", "1920x1080");
    for program in ["c-program", "cpp-program"] {
        let text = headless()?.run(built.folder.join(program), &[])?;
        ensure!(text == expected, "{program}: {text}");
    }
    Ok(())
}

#[test]
fn python_programs_run_headless() -> Result<()> {
    let python = built()?.python.join("bin/python");
    headless()?.run(&python, &[root().join("examples/python/start.py")])?;
    let text = headless()?.run(&python, &[root().join("bindings/tests/library.py")])?;
    ensure!(text.ends_with("all tests passed\n"), "{text}");
    Ok(())
}

#[test]
fn python_examples_of_the_documentation_run() -> Result<()> {
    let python = built()?.python.join("bin/python");
    let text = std::fs::read_to_string(root().join("docs/libraries.md"))?;
    let examples: Vec<&str> =
        text.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    ensure!(!examples.is_empty(), "no example");
    for example in examples {
        let file = tempfile::Builder::new().suffix(".py").tempfile()?;
        std::fs::write(file.path(), example)?;
        let text = headless()?.run(&python, &[file.path().to_owned()])?;
        ensure!(text.starts_with("HEADLESS-1 enabled"), "{text}");
    }
    Ok(())
}

#[test]
fn readme_shows_the_tested_python_program() -> Result<()> {
    let program = std::fs::read_to_string(root().join("examples/python/start.py"))?;
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    // README.md omits the comments at the beginning.
    let code: String = program.split_inclusive('\n').skip_while(|line| line.starts_with('#')).collect();
    ensure!(readme.contains(&format!("```python\n{code}```")), "README.md shows another program");
    Ok(())
}

/// They start the service as an ordinary user, and it enables the monitor.
#[test]
fn c_cpp_and_python_programs_run_in_the_lab() -> Result<()> {
    let built = built()?;
    let Setup { machine, .. } = Setup::with_monitors(1)?;
    let shared = machine.shared_dir().join("libraries");
    let locate = "import geom_compositor, os; print(os.path.dirname(geom_compositor.__file__))";
    let module = output(Command::new(built.python.join("bin/python")).args(["-c", locate]))?;
    let copied = Command::new("cp").arg("-rT").arg(&built.folder).arg(&shared).status()?;
    ensure!(copied.success(), "copy the libraries");
    let copied = Command::new("cp").arg("-rt").arg(&shared).arg(module.trim()).status()?;
    ensure!(copied.success(), "copy the module");
    std::fs::copy(root().join("examples/python/start.py"), shared.join("program.py"))?;

    let env = [
        ("GEOM_COMPOSITOR_EXECUTABLE", COMPOSITOR),
        ("GEOM_COMPOSITOR_BACKEND", "kms"),
        ("LD_LIBRARY_PATH", "/run/lab/libraries"),
        ("PYTHONPATH", "/run/lab/libraries"),
        ("NO_COLOR", "1"),
    ];
    let python =
        machine.spawn_as_user("python", &["/usr/bin/python3", "/run/lab/libraries/program.py"], &env)?;
    wait_for_pixels(&machine, "Virtual-1", "the diagnostic screen", |screenshot| {
        is_diagnostic_screen(screenshot) && screenshot.fraction(|pixel| pixel[0] > 0xc0) > 0.001
    })?;
    let status = machine.wait(&python, EXIT_TIMEOUT)?;
    let log = std::fs::read_to_string(&python.log)?;
    ensure!(status == Some(ExitStatus::Exited(0)), "{status:?}: {log}");

    for program in ["c-program", "cpp-program"] {
        let started = machine.spawn_as_user(program, &[&format!("/run/lab/libraries/{program}")], &env)?;
        let status = machine.wait(&started, 2 * EXIT_TIMEOUT)?;
        let log = std::fs::read_to_string(&started.log)?;
        ensure!(status == Some(ExitStatus::Exited(0)), "{program}: {status:?}: {log}");
        // The lines of the service's log begin with their time.
        let own: String = log
            .lines()
            .filter(|line| !line.starts_with(|first: char| first.is_ascii_digit()))
            .fold(String::new(), |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            });
        let expected = expected_output("Virtual-1", "1024x768");
        ensure!(own == expected, "{program}: {own}");
    }
    let warnings = machine.kernel_warnings()?;
    ensure!(warnings.is_empty(), "the guest's kernel reports: {warnings:#?}");
    Ok(())
}
