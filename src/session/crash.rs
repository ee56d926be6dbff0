//! Crash reports: the cause, a backtrace, the displays, and the last log events.
//!
//! The handler of a fatal signal may only do what is safe in one (signal-safety(7)): copy bytes
//! that are already there, format numbers, make system calls. glibc's backtrace(3) is not on that
//! list, because its first call may load a library; therefore the first call is made at the start.

use std::backtrace::Backtrace;
use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::Layer;

/// Bytes of log events that are kept for a report.
const RING_BYTES: usize = 128 << 10;
/// Reports that are kept; older ones are removed.
const MAX_REPORTS: usize = 10;

const FATAL: [(i32, &CStr); 6] = [
    (libc::SIGSEGV, c"SIGSEGV: invalid memory access"),
    (libc::SIGBUS, c"SIGBUS: the memory behind a mapping is gone"),
    (libc::SIGABRT, c"SIGABRT: aborted by itself or by the watchdog"),
    (libc::SIGILL, c"SIGILL: illegal instruction"),
    (libc::SIGFPE, c"SIGFPE: arithmetic error, for example a division by zero"),
    (libc::SIGSYS, c"SIGSYS: a system call that the unit does not allow"),
];

static BYTES: [AtomicU8; RING_BYTES] = [const { AtomicU8::new(0) }; RING_BYTES];
static WRITTEN: AtomicUsize = AtomicUsize::new(0);
static REPORTED: AtomicBool = AtomicBool::new(false);
static FILE: OnceLock<CString> = OnceLock::new();
static HEAD: OnceLock<String> = OnceLock::new();
static STATE: Mutex<String> = Mutex::new(String::new());

/// The ring buffer of the last log events, as text.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventRing;

impl Write for EventRing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = WRITTEN.fetch_add(bytes.len(), Ordering::Relaxed);
        for (offset, byte) in bytes.iter().enumerate() {
            if let Some(cell) = BYTES.get((at + offset) % RING_BYTES) {
                cell.store(*byte, Ordering::Relaxed);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for EventRing {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

/// Returns the log layer that fills the ring buffer: our own events from `debug` on, and those of
/// libraries from `info` on, independent of the log level of the other layers. The level `trace`
/// has events of each frame, which would soon overwrite all others.
pub fn layer<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    use tracing::level_filters::LevelFilter;
    let filter =
        Targets::new().with_default(LevelFilter::INFO).with_target("geom_compositor", LevelFilter::DEBUG);
    tracing_subscriber::fmt::layer().with_ansi(false).with_writer(EventRing).with_filter(filter)
}

/// Updates the section about displays of a future report.
pub fn note_state(text: String) {
    *STATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text;
}

/// Returns the folders for reports in order of preference: the unit's StateDirectory=, then the
/// user's folders for state (XDG Base Directory Specification).
pub fn folders() -> impl Iterator<Item = PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // A list of several is separated by colons (systemd.exec(5)).
    let first = |path: PathBuf| {
        path.to_str().and_then(|all| all.split(':').next()).map(PathBuf::from).unwrap_or(path)
    };
    let own = |folder: PathBuf| folder.join("geom_compositor");
    let folders = [
        variable("STATE_DIRECTORY").map(first),
        variable("XDG_STATE_HOME").map(own),
        variable("HOME").map(|home| own(home.join(".local/state"))),
        variable("XDG_RUNTIME_DIR").map(own),
    ];
    folders.into_iter().flatten()
}

/// Returns the paths of the reports in a folder, oldest first.
pub fn reports(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("crash-");
    let mut found: Vec<PathBuf> = entries.filter(name).map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Installs the signal handlers and the panic hook that write reports.
///
/// # Errors
/// If no folder for reports can be created.
pub fn install() -> io::Result<()> {
    // Before anything can fail: Rust's own handler for SIGSEGV and SIGBUS ignores a signal that
    // another process sends.
    handle_signals()?;
    let folder =
        folders().find(|folder| fs::create_dir_all(folder).is_ok()).ok_or(io::ErrorKind::NotFound)?;
    let all = reports(&folder);
    for old in all.iter().take(all.len().saturating_sub(MAX_REPORTS - 1)) {
        if let Err(error) = fs::remove_file(old) {
            warn!(file = %old.display(), %error, "cannot remove an old crash report; remove it by hand");
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let file = folder.join(format!("crash-{now}-{}.txt", std::process::id()));
    let _ = FILE.set(CString::new(file.as_os_str().as_bytes())?);
    let kernel = rustix::system::uname();
    let _ = HEAD.set(format!(
        "geom_compositor {}, process {}, started {now} (seconds since 1970)\n{} {} {}\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        kernel.sysname().to_string_lossy(),
        kernel.release().to_string_lossy(),
        kernel.machine().to_string_lossy(),
    ));
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        previous(panic);
        if !REPORTED.swap(true, Ordering::SeqCst) {
            write_report(|out| {
                let _ = writeln!(out, "{panic}\n\n{}", Backtrace::force_capture());
            });
        }
    }));
    Ok(())
}

fn handle_signals() -> io::Result<()> {
    // SAFETY: the array has that size. Loads the library that backtrace(3) needs.
    unsafe { libc::backtrace([std::ptr::null_mut(); 4].as_mut_ptr(), 4) };
    for (signal, _) in FATAL {
        // SAFETY: the handler does only what is safe in one, and the zeroed mask is an empty set.
        // SA_ONSTACK: the cause may be a stack overflow. Rust's runtime has set up an alternate
        // stack for the main thread.
        let set = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_fatal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND;
            libc::sigaction(signal, &action, std::ptr::null_mut())
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// An open file, written by write(2) without any buffering or locks.
struct RawFile(i32);

impl Write for RawFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: pointer and length are those of a slice.
        let written = unsafe { libc::write(self.0, bytes.as_ptr().cast(), bytes.len()) };
        usize::try_from(written).map_err(|_| io::ErrorKind::Other.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a report; `write_cause` writes the section about the cause.
fn write_report(write_cause: impl FnOnce(&mut RawFile)) {
    let Some(file) = FILE.get() else { return };
    // SAFETY: the path is a C string.
    let fd = unsafe {
        libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC, 0o600)
    };
    if fd < 0 {
        return;
    }
    let mut out = RawFile(fd);
    let mut append = |bytes: &[u8]| drop(out.write_all(bytes));
    append(HEAD.get().map_or(b"".as_slice(), |head| head.as_bytes()));
    append(b"\n");
    write_cause(&mut out);
    let mut append = |bytes: &[u8]| drop(out.write_all(bytes));
    append(b"\nDisplays:\n");
    // The thread that crashed may hold the lock.
    if let Ok(state) = STATE.try_lock() {
        append(state.as_bytes());
    }
    append(b"\n\nLast events:\n");
    let end = WRITTEN.load(Ordering::Relaxed);
    let mut chunk = [0u8; 512];
    let mut at = end.saturating_sub(RING_BYTES);
    while at < end {
        let count = chunk.len().min(end - at);
        for (offset, byte) in chunk.iter_mut().enumerate().take(count) {
            *byte = BYTES.get((at + offset) % RING_BYTES).map_or(b'?', |cell| cell.load(Ordering::Relaxed));
        }
        append(chunk.get(..count).unwrap_or_default());
        at += count;
    }
    // SAFETY: opened above.
    unsafe { libc::close(fd) };
}

extern "C" fn on_fatal(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if !REPORTED.swap(true, Ordering::SeqCst) {
        write_report(|out| {
            let text = FATAL.iter().find(|(known, _)| *known == signal).map(|(_, text)| *text);
            let _ = out.write_all(text.unwrap_or(c"a signal").to_bytes());
            // SAFETY: SA_SIGINFO: the kernel passes a valid siginfo_t.
            let (address, sender, code) =
                unsafe { ((*info).si_addr() as usize, (*info).si_pid(), (*info).si_code) };
            // A process sent the signal if the code is not positive (sigaction(2)).
            let _ = match code > 0 {
                true => writeln!(out, "\nat address {address:#x}"),
                false => writeln!(out, "\nsent by process {sender}"),
            };
            let _ = out.write_all(b"\nBacktrace, latest frame first (addr2line -e geom_compositor):\n");
            let mut frames = [std::ptr::null_mut(); 64];
            // SAFETY: the array has that size, and the descriptor is open.
            unsafe {
                let count = libc::backtrace(frames.as_mut_ptr(), 64);
                libc::backtrace_symbols_fd(frames.as_ptr(), count, out.0);
            }
        });
    }
    // SA_RESETHAND has restored the default action, so that this ends the process with the signal's
    // own status. A signal that a process sent would not be raised again without this.
    // SAFETY: raise(3) has no preconditions.
    unsafe { libc::raise(signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_events_are_overwritten() -> io::Result<()> {
        let line = [b'x'; 1000];
        for _ in 0..RING_BYTES / 1000 + 2 {
            EventRing.write_all(&line)?;
        }
        EventRing.write_all(b"the last")?;
        let end = WRITTEN.load(Ordering::Relaxed);
        let last: Vec<u8> = (end - 8..end).map(|at| BYTES[at % RING_BYTES].load(Ordering::Relaxed)).collect();
        assert_eq!(last, b"the last");
        Ok(())
    }

    #[test]
    fn reports_are_listed_oldest_first() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        for name in ["crash-20-1.txt", "other", "crash-10-2.txt"] {
            fs::write(folder.path().join(name), "")?;
        }
        let names: Vec<_> =
            reports(folder.path()).iter().map(|path| path.file_name().map(ToOwned::to_owned)).collect();
        assert_eq!(names, [Some("crash-10-2.txt".into()), Some("crash-20-1.txt".into())]);
        Ok(())
    }
}
