//! Who has the seat's active session.
//!
//! logind keeps that in a file of each seat, which is how sd_seat_get_active(3) and sd_login_monitor_new(3) find it as well.

use std::path::{Path, PathBuf};

/// Where logind keeps what it knows of seats.
const SEATS: &str = "/run/systemd/seats";

/// The file of this process' seat.
pub fn file() -> PathBuf {
    let seat = std::env::var("XDG_SEAT").ok().filter(|seat| !seat.is_empty() && !seat.contains('/'));
    Path::new(SEATS).join(seat.as_deref().unwrap_or("seat0"))
}

/// The user of the active session. None without logind, or while nobody has the seat.
pub fn user(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let name = uzers::get_user_by_uid(number(&text)?)?;
    Some(name.name().to_string_lossy().into_owned())
}

fn number(text: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix("ACTIVE_UID="))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_read() {
        let text =
            "# This is private data. Do not parse.\nIS_SEAT0=1\nACTIVE=c2\nACTIVE_UID=1000\nSESSIONS=c2 c1\n";
        assert_eq!(number(text), Some(1000));
        for text in ["", "ACTIVE_UID=", "ACTIVE_UID=ann", "ACTIVE=c2"] {
            assert_eq!(number(text), None);
        }
        assert_eq!(user(Path::new("/nonexistent")), None);
    }
}
