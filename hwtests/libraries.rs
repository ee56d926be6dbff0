//! The C, C++ and Python libraries: built as their users build them, run against the service headless and in the lab.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use geom_lab::protocol::{Ending, GpuSpec};

use crate::world::{Bench, COMPOSITOR, GROUND};

/// What the C and the C++ program say.
const SAID: [&str; 5] =
    ["display D", "event display D", "client Geometry OS Compositor 3", "owns 1", "ended"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs it and gives its standard output.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{text}\n{errors}", output.status);
    Ok(text)
}

/// The programs, the library that they load, and the Python module: a folder to be copied anywhere.
struct Built {
    folder: PathBuf,
    /// An environment with the module installed by pip.
    python: PathBuf,
}

/// Built once for all tests; the words of what went wrong otherwise.
static BUILT: LazyLock<Result<Built, String>> =
    LazyLock::new(|| build().map_err(|error| format!("{error:#}")));

fn built() -> Result<&'static Built> {
    BUILT.as_ref().map_err(|words| anyhow::anyhow!(words.clone()))
}

fn build() -> Result<Built> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libraries");
    std::fs::create_dir_all(&folder)?;
    let library = Path::new(env!("CARGO_BIN_EXE_geom_compositor")).with_file_name("libgeom_client.so");
    ensure!(library.is_file(), "no {}; build it: cargo build -p geom-client", library.display());
    for name in ["libgeom_client.so", "libgeom_client.so.0"] {
        std::fs::copy(&library, folder.join(name))?;
    }
    // As it is installed, the folders apart.
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
        let source = root().join("bindings/tests").join(source);
        let mut command = Command::new(compiler);
        command.args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o"]).arg(folder.join(program));
        output(command.arg(source).arg("-I").arg(root().join("bindings/cpp")).args(&flags))
    };
    compile("cc", "-std=c99", "program.c", "c-program")?;
    compile("c++", "-std=c++17", "program.cpp", "cpp-program")?;

    let python = folder.join("python");
    output(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&python))?;
    let module = root().join("bindings/python");
    output(Command::new(python.join("bin/pip")).args(["-q", "install"]).arg(module))?;
    Ok(Built { folder, python })
}

/// A service of its own for each program: its runtime folder, no monitors.
struct Headless(tempfile::TempDir);

impl Headless {
    fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[PathBuf]) -> Result<String> {
        let mut command = Command::new(program);
        output(
            command
                .args(arguments)
                .env("XDG_RUNTIME_DIR", self.0.path())
                .env("GEOM_COMPOSITOR_EXECUTABLE", env!("CARGO_BIN_EXE_geom_compositor"))
                .env("GEOM_COMPOSITOR_BACKEND", "headless")
                .env("LD_LIBRARY_PATH", &built()?.folder)
                .env_remove("GEOM_COMPOSITOR_SOCKET"),
        )
    }
}

fn headless() -> Result<Headless> {
    Ok(Headless(tempfile::tempdir()?))
}

fn said(display: &str) -> String {
    SAID.map(|line| line.replacen('D', display, 1) + "\n").concat()
}

#[test]
fn c_and_cpp_headless() -> Result<()> {
    let built = built()?;
    let expected = said("HEADLESS-1").replacen("HEADLESS-1\n", "HEADLESS-1 1920x1080\n", 1);
    for program in ["c-program", "cpp-program"] {
        let text = headless()?.run(built.folder.join(program), &[])?;
        ensure!(text == expected, "{program}: {text}");
    }
    Ok(())
}

#[test]
fn python_headless() -> Result<()> {
    let python = built()?.python.join("bin/python");
    let tests = root().join("bindings/tests");
    headless()?.run(&python, &[tests.join("program.py")])?;
    let text = headless()?.run(&python, &[tests.join("library.py")])?;
    ensure!(text.ends_with("all is as promised\n"), "{text}");
    Ok(())
}

#[test]
fn the_documentation_s_python() -> Result<()> {
    let python = built()?.python.join("bin/python");
    let text = std::fs::read_to_string(root().join("docs/libraries.md"))?;
    let examples: Vec<&str> =
        text.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    ensure!(!examples.is_empty(), "no example");
    for example in examples {
        let file = tempfile::Builder::new().suffix(".py").tempfile()?;
        std::fs::write(file.path(), example)?;
        let said = headless()?.run(&python, &[file.path().to_owned()])?;
        ensure!(said.starts_with("HEADLESS-1 lit"), "{said}");
    }
    Ok(())
}

#[test]
fn the_readme_s_program_is_the_one_that_is_tested() -> Result<()> {
    let program = std::fs::read_to_string(root().join("bindings/tests/program.py"))?;
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    ensure!(readme.contains(&format!("```python\n{program}```")), "README.md shows another program");
    Ok(())
}

/// All three in the lab: they start the service there as an ordinary user and light the monitor.
#[test]
fn c_cpp_and_python_in_the_lab() -> Result<()> {
    let built = built()?;
    let Bench { machine, .. } = Bench::new(&[GpuSpec::new("gpu0", 1)])?;
    let shared = machine.folder().join("libraries");
    let locate = "import geom_compositor, os; print(os.path.dirname(geom_compositor.__file__))";
    let module = output(Command::new(built.python.join("bin/python")).args(["-c", locate]))?;
    let copied = Command::new("cp").arg("-rT").arg(&built.folder).arg(&shared).status()?;
    ensure!(copied.success(), "copy the libraries");
    let copied = Command::new("cp").arg("-rt").arg(&shared).arg(module.trim()).status()?;
    ensure!(copied.success(), "copy the module");
    std::fs::copy(root().join("bindings/tests/program.py"), shared.join("program.py"))?;

    let env = [
        ("GEOM_COMPOSITOR_EXECUTABLE", COMPOSITOR),
        ("GEOM_COMPOSITOR_BACKEND", "kms"),
        ("LD_LIBRARY_PATH", "/run/lab/libraries"),
        ("PYTHONPATH", "/run/lab/libraries"),
        ("NO_COLOR", "1"),
    ];
    let python = machine.user("python", &["/usr/bin/python3", "/run/lab/libraries/program.py"], &env)?;
    machine.until_logged(&python, "displays lit")?;
    machine.until("the diagnostic screen", |machine| {
        let picture = machine.screenshot("Virtual-1")?;
        Ok(picture.share(|pixel| pixel == GROUND) > 0.9 && picture.share(|pixel| pixel[0] > 0xc0) > 0.001)
    })?;
    let ending = machine.wait(&python, Duration::from_secs(30))?;
    let log = std::fs::read_to_string(&python.log)?;
    ensure!(ending == Some(Ending::Exited(0)), "{ending:?}: {log}");

    for program in ["c-program", "cpp-program"] {
        let started = machine.user(program, &[&format!("/run/lab/libraries/{program}")], &env)?;
        let ending = machine.wait(&started, Duration::from_secs(60))?;
        let log = std::fs::read_to_string(&started.log)?;
        ensure!(ending == Some(Ending::Exited(0)), "{program}: {ending:?}: {log}");
        // The service's log is in between.
        let own: String = log
            .lines()
            .filter(|line| !line.starts_with(|first: char| first.is_ascii_digit()))
            .fold(String::new(), |mut text, line| {
                text.push_str(line);
                text.push('\n');
                text
            });
        let expected = said("Virtual-1").replacen("Virtual-1\n", "Virtual-1 1024x768\n", 1);
        ensure!(own == expected, "{program}: {own}");
    }
    let warnings = machine.kernel_warnings()?;
    ensure!(warnings.is_empty(), "the guest's kernel complains: {warnings:#?}");
    Ok(())
}
