//! What must hold whatever comes in: each target takes any bytes and says what they broke.
//!
//! `make fuzz` lets libFuzzer look for bytes that do; what it finds goes into `corpus/`, which the tests here run through, with
//! changes of each of its files.

mod connection;
mod control_frames;
mod edid;

pub use connection::connection;
pub use control_frames::control_frames;
pub use edid::edid;

/// A broken law, in words.
pub type Broken = String;

/// Ends the process as a fuzzer expects it.
pub fn must(outcome: Result<(), Broken>) {
    if let Err(broken) = outcome {
        eprintln!("{broken}");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    type Failed = Box<dyn std::error::Error>;

    /// A generator of numbers, the same at each run (Marsaglia, "Xorshift RNGs", 2003).
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % sides.max(1) as u64) as usize
        }
    }

    /// A file of the corpus with some of its bytes changed, lost, or doubled.
    fn changed(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=dice.roll(6) {
            let place = dice.roll(bytes.len());
            match dice.roll(4) {
                0 => bytes.truncate(place),
                1 => bytes.insert(place, dice.roll(256) as u8),
                2 => {
                    let copied: Vec<u8> = bytes.iter().skip(place).take(dice.roll(64)).copied().collect();
                    bytes.extend(copied);
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte ^= 1 << dice.roll(8);
                    }
                }
            }
        }
        bytes
    }

    fn corpus(
        name: &str,
        target: impl Fn(&[u8]) -> Result<(), Broken>,
        changes: usize,
    ) -> Result<(), Failed> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files = 0;
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let seed = std::fs::read(&path)?;
            let of = |broken: Broken| format!("{}: {broken}", path.display());
            target(&seed).map_err(of)?;
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
            for _ in 0..changes {
                let bytes = changed(&seed, &mut dice);
                target(&bytes)
                    .map_err(|broken| format!("{} changed to {bytes:02x?}: {broken}", path.display()))?;
            }
            files += 1;
        }
        assert!(files > 0, "{} is empty", folder.display());
        Ok(())
    }

    #[test]
    fn control_frames_hold() -> Result<(), Failed> {
        corpus("control_frames", control_frames, 2000)
    }

    #[test]
    fn edids_hold() -> Result<(), Failed> {
        corpus("edid", edid, 2000)
    }

    #[test]
    fn connections_hold() -> Result<(), Failed> {
        corpus("connection", connection, 2000)
    }
}
