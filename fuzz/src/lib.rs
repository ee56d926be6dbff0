//! Fuzz targets: each takes any bytes and returns the invariant that they violate, if any.
//!
//! `make fuzz` runs libFuzzer. An input that it finds belongs into `corpus/` once the bug is fixed;
//! the tests here run each file of the corpus, and mutations of it.

mod config;
mod connection;
mod control_frames;
mod edid;
mod guard;
mod icc;
mod saved_state;
mod texts;
mod wayland;

pub use config::config;
pub use connection::connection;
pub use control_frames::control_frames;
pub use edid::edid;
pub use guard::guard;
pub use icc::icc;
pub use saved_state::saved_state;
pub use texts::texts;
pub use wayland::{wayland, wayland_coverage};

/// A message about the violated invariant.
pub type Violation = String;

/// Aborts the process on a violation, which libFuzzer reports with the input.
pub fn abort_on_violation(result: Result<(), Violation>) {
    if let Err(violation) = result {
        eprintln!("{violation}");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::*;

    type Failed = Box<dyn std::error::Error>;

    /// Returns a file of the corpus with some bytes changed, inserted, removed or repeated.
    fn mutate(seed: &[u8], rng: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=rng.usize(..6) {
            let index = rng.usize(..bytes.len().max(1));
            match rng.u8(..4) {
                0 => bytes.truncate(index),
                1 => bytes.insert(index, rng.u8(..)),
                2 => {
                    let copy: Vec<u8> = bytes.iter().skip(index).take(rng.usize(..64)).copied().collect();
                    bytes.extend(copy);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(index) {
                        *byte ^= 1 << rng.u8(..8);
                    }
                }
            }
        }
        bytes
    }

    /// Runs a target on each file of its corpus, and on mutations of it.
    fn run_corpus(
        name: &str,
        target: impl Fn(&[u8]) -> Result<(), Violation>,
        mutations: usize,
    ) -> Result<(), Failed> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files = 0;
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let seed = std::fs::read(&path)?;
            target(&seed).map_err(|violation| format!("{}: {violation}", path.display()))?;
            // The same seed in each run, so that a failure can be reproduced.
            let mut rng = fastrand::Rng::with_seed(1);
            for _ in 0..mutations {
                let bytes = mutate(&seed, &mut rng);
                target(&bytes).map_err(|violation| {
                    format!("{} changed to {bytes:02x?}: {violation}", path.display())
                })?;
            }
            files += 1;
        }
        assert!(files > 0, "{} is empty", folder.display());
        Ok(())
    }

    #[test]
    fn control_frames_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("control_frames", control_frames, 2000)
    }

    #[test]
    fn edid_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("edid", edid, 2000)
    }

    #[test]
    fn connection_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("connection", connection, 2000)
    }

    #[test]
    fn config_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("config", config, 500)
    }

    #[test]
    fn icc_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("icc", icc, 20)
    }

    #[test]
    fn saved_state_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("saved_state", saved_state, 2000)
    }

    #[test]
    fn guard_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("guard", guard, 2000)
    }

    #[test]
    fn texts_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("texts", texts, 2000)
    }

    #[test]
    fn wayland_corpus_violates_no_invariant() -> Result<(), Failed> {
        run_corpus("wayland", wayland, 0)
    }

    /// Returns an environment variable as a number.
    fn setting(name: &str) -> Option<u64> {
        std::env::var(name).ok()?.parse().ok()
    }

    /// From a report about a long run to the next.
    const REPORT_INTERVAL: Duration = Duration::from_secs(300);

    /// Random sequences for WAYLAND_SECONDS, from the seed WAYLAND_SEED on. The file that is named
    /// has the sequence that runs, because a panic in a request aborts the process.
    #[test]
    fn wayland_random_sequences_violate_no_invariant() -> Result<(), Failed> {
        let time = Duration::from_secs(setting("WAYLAND_SECONDS").unwrap_or(20));
        let first = setting("WAYLAND_SEED").unwrap_or(1);
        let path = std::env::temp_dir().join(format!("geom-fuzz-wayland-{}", std::process::id()));
        let reports = std::env::var_os("WAYLAND_COVERAGE").is_some();
        let since = Instant::now();
        let mut reported = since;
        let mut seed = first;
        while since.elapsed() < time {
            let mut rng = fastrand::Rng::with_seed(seed);
            let bytes: Vec<u8> = (0..rng.usize(200..4000)).map(|_| rng.u8(..)).collect();
            std::fs::write(&path, &bytes)?;
            eprintln!("wayland: seed {seed}, sequence in {}", path.display());
            wayland(&bytes).map_err(|violation| format!("seed {seed}: {violation}"))?;
            seed += 1;
            if reports && reported.elapsed() > REPORT_INTERVAL {
                reported = Instant::now();
                println!(
                    "{} s, seeds {first} to {}: {}",
                    since.elapsed().as_secs(),
                    seed - 1,
                    wayland_coverage()
                );
            }
        }
        std::fs::remove_file(&path)?;
        if reports {
            println!("seeds {first} to {}: {}", seed - 1, wayland_coverage());
        }
        Ok(())
    }
}
