//! Reports of crashes: what it died of, where, what it did last, and what it drove.
//!
//! A fatal signal leaves nothing but what is safe there (signal-safety(7)): bytes that lie ready, numbers, system calls. glibc's backtrace(3) is not
//! on that list, as its first call may load a library; that one is made at the start.

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

/// So many bytes of the last events.
const RING: usize = 128 << 10;
/// So many reports are kept.
const REPORTS: usize = 10;

const FATAL: [(i32, &CStr); 6] = [
    (libc::SIGSEGV, c"SIGSEGV: it reached for memory that is not its own"),
    (libc::SIGBUS, c"SIGBUS: memory behind a mapping is gone"),
    (libc::SIGABRT, c"SIGABRT: it gave itself up, or the watchdog did"),
    (libc::SIGILL, c"SIGILL: an instruction that the processor does not know"),
    (libc::SIGFPE, c"SIGFPE: a division by zero or the like"),
    (libc::SIGSYS, c"SIGSYS: a system call that its unit does not allow"),
];

static BYTES: [AtomicU8; RING] = [const { AtomicU8::new(0) }; RING];
static WRITTEN: AtomicUsize = AtomicUsize::new(0);
static REPORTED: AtomicBool = AtomicBool::new(false);
static FILE: OnceLock<CString> = OnceLock::new();
static HEAD: OnceLock<String> = OnceLock::new();
static STATE: Mutex<String> = Mutex::new(String::new());

/// The last events, as text; the oldest are overwritten.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ring;

impl Write for Ring {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let at = WRITTEN.fetch_add(bytes.len(), Ordering::Relaxed);
        for (place, byte) in bytes.iter().enumerate() {
            if let Some(cell) = BYTES.get((at + place) % RING) {
                cell.store(*byte, Ordering::Relaxed);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Ring {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

/// Takes every event of ours down to `trace`, and others from `info` on, whatever is logged elsewhere.
pub fn layer<S>() -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    use tracing::level_filters::LevelFilter;
    let taken =
        Targets::new().with_default(LevelFilter::INFO).with_target("geom_compositor", LevelFilter::TRACE);
    tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Ring).with_filter(taken)
}

/// What is driven now, for a report that may have to be written at any moment.
pub fn note_state(text: String) {
    *STATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text;
}

/// Where reports go: the unit's StateDirectory=, or the first of the user's folders that can be made (XDG base directories).
pub fn folders() -> impl Iterator<Item = PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // There may be several, with colons between them (systemd.exec(5)).
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

/// Reports that there are, the newest last.
pub fn reports(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("crash-");
    let mut found: Vec<PathBuf> = entries.filter(name).map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// From now on a crash leaves a report, where there is a folder for it.
///
/// # Errors
/// Where there is none.
pub fn install() -> io::Result<()> {
    // Without them Rust's own would swallow a signal that a process sends.
    handle_signals()?;
    let folder =
        folders().find(|folder| fs::create_dir_all(folder).is_ok()).ok_or(io::ErrorKind::NotFound)?;
    let all = reports(&folder);
    for old in all.iter().take(all.len().saturating_sub(REPORTS - 1)) {
        if let Err(error) = fs::remove_file(old) {
            warn!(file = %old.display(), %error, "an old report can't be removed");
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
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if !REPORTED.swap(true, Ordering::SeqCst) {
            write(|out| {
                let _ = writeln!(out, "{panic}\n\n{}", Backtrace::force_capture());
            });
        }
    }));
    Ok(())
}

fn handle_signals() -> io::Result<()> {
    // SAFETY: an array of that size; what it loads is loaded now.
    unsafe { libc::backtrace([std::ptr::null_mut(); 4].as_mut_ptr(), 4) };
    for (signal, _) in FATAL {
        // SAFETY: the handler keeps to what is safe in one; the mask is an empty one. SA_ONSTACK: Rust's runtime has set one up for the
        // main thread, as a stack may be what ran out.
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

/// A file by its number, written with plain system calls.
struct Raw(i32);

impl Write for Raw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the bytes are there.
        let written = unsafe { libc::write(self.0, bytes.as_ptr().cast(), bytes.len()) };
        usize::try_from(written).map_err(|_| io::ErrorKind::Other.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a report; `why` says what happened, and where.
fn write(why: impl FnOnce(&mut Raw)) {
    let Some(file) = FILE.get() else { return };
    // SAFETY: the path ends by itself.
    let fd = unsafe {
        libc::open(file.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC, 0o600)
    };
    if fd < 0 {
        return;
    }
    let mut out = Raw(fd);
    let mut say = |bytes: &[u8]| drop(out.write_all(bytes));
    say(HEAD.get().map_or(b"".as_slice(), |head| head.as_bytes()));
    say(b"\n");
    why(&mut out);
    let mut say = |bytes: &[u8]| drop(out.write_all(bytes));
    say(b"\nDisplays:\n");
    // Whoever died may have had it locked.
    if let Ok(state) = STATE.try_lock() {
        say(state.as_bytes());
    }
    say(b"\n\nLast events:\n");
    let end = WRITTEN.load(Ordering::Relaxed);
    let mut piece = [0u8; 512];
    let mut at = end.saturating_sub(RING);
    while at < end {
        let count = piece.len().min(end - at);
        for (place, byte) in piece.iter_mut().enumerate().take(count) {
            *byte = BYTES.get((at + place) % RING).map_or(b'?', |cell| cell.load(Ordering::Relaxed));
        }
        say(piece.get(..count).unwrap_or_default());
        at += count;
    }
    // SAFETY: ours.
    unsafe { libc::close(fd) };
}

extern "C" fn on_fatal(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if !REPORTED.swap(true, Ordering::SeqCst) {
        write(|out| {
            let text = FATAL.iter().find(|(known, _)| *known == signal).map(|(_, text)| *text);
            let _ = out.write_all(text.unwrap_or(c"a signal").to_bytes());
            // SAFETY: the kernel's, of a signal that it describes.
            let (address, sender, code) =
                unsafe { ((*info).si_addr() as usize, (*info).si_pid(), (*info).si_code) };
            // Sent by a process where the code is not positive (sigaction(2)).
            let _ = match code > 0 {
                true => writeln!(out, "\nat address {address:#x}"),
                false => writeln!(out, "\nsent by process {sender}"),
            };
            let _ = out.write_all(b"\nBacktrace, the latest first (addr2line -e geom_compositor):\n");
            let mut frames = [std::ptr::null_mut(); 64];
            // SAFETY: an array of that size, and a descriptor that is open.
            unsafe {
                let count = libc::backtrace(frames.as_mut_ptr(), 64);
                libc::backtrace_symbols_fd(frames.as_ptr(), count, out.0);
            }
        });
    }
    // The handler was taken back when it was called: the second time is the end, with the signal's own status. One that a process sent
    // does not come again by itself.
    // SAFETY: plain.
    unsafe { libc::raise(signal) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_overwritten() -> io::Result<()> {
        let line = [b'x'; 1000];
        for _ in 0..RING / 1000 + 2 {
            Ring.write_all(&line)?;
        }
        Ring.write_all(b"the last")?;
        let end = WRITTEN.load(Ordering::Relaxed);
        let last: Vec<u8> = (end - 8..end).map(|at| BYTES[at % RING].load(Ordering::Relaxed)).collect();
        assert_eq!(last, b"the last");
        Ok(())
    }

    #[test]
    fn reports_are_listed_by_age() -> io::Result<()> {
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
