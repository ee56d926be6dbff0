//! What the guard reads: the service's datagrams, and the lists of descriptors that are passed to a
//! process.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::OwnedFd;

use geom_compositor::internals::fd_store::{parse_held, parse_passed};
use geom_compositor::internals::notifications::{Notification, Stored, MAX_STORED_FDS};

use crate::Violation;

/// Ends a datagram; no text in UTF-8 has it.
const END: u8 = 0xff;

/// Checks datagrams, each a byte with the number of its descriptors and its text, and each text as
/// a list of passed descriptors.
///
/// # Errors
/// If more is kept than may be, the next process would not get what is kept under the same names,
/// or a descriptor would be taken twice.
pub fn guard(bytes: &[u8]) -> Result<(), Violation> {
    let null = File::open("/dev/null").map_err(|error| error.to_string())?;
    let mut stored = Stored::default();
    for datagram in bytes.split(|byte| *byte == END) {
        let [count, text @ ..] = datagram else { continue };
        let text = String::from_utf8_lossy(text);
        let fds = (0..count % 4).map(|_| null.try_clone().map(OwnedFd::from));
        let fds = fds.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        stored.apply(&Notification::parse(&text), fds);
        let names: Vec<&str> = stored.iter().map(|(name, _)| name).collect();
        if names.len() > MAX_STORED_FDS {
            return Err(format!("{} descriptors are kept", names.len()));
        }
        let list = names.join(":");
        if CString::new(list.as_str()).is_err() {
            return Err(format!("{list:?} cannot be in an environment"));
        }
        let passed = parse_passed(names.len() as u32, &list);
        if !passed.iter().map(|(_, name)| *name).eq(names.iter().copied()) {
            return Err(format!("{names:?} become {passed:?}"));
        }
        let held = parse_held(&text, 1).unwrap_or_default();
        if let Some(number) = held.keys().find(|number| **number < 3) {
            return Err(format!("{number} is not a passed descriptor"));
        }
    }
    Ok(())
}
