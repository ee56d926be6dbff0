//! ICC profiles by their files: which ones are read, which are to be read, and what reading them
//! gave. Files may be on slow disks and are large, so they are read on threads, never here.
//!
//! ```text
//!            look                 read_ended
//!   unknown ------> being read ----------------> profile, or why there is none
//!                       ^                               |
//!                       |  look, after `forget`, or     |
//!                       +--- after a look at an error --+
//! ```

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use geom_color::icc::IccProfile;

use crate::config::open::{read_user_file, MAX_ICC_BYTES};

/// An ICC profile, or why its file cannot be used.
pub type IccResult = Result<Arc<IccProfile>, String>;

/// Reads the ICC profile of a monitor. Called on threads.
///
/// # Errors
/// Why it cannot be used.
pub fn load_icc(path: &Path) -> IccResult {
    let bytes = read_user_file(path, MAX_ICC_BYTES).map_err(|error| error.to_string())?;
    IccProfile::parse(&bytes).map(Arc::new)
}

/// One file.
#[derive(Debug, Default)]
struct IccFile {
    /// What reading it gave last; `None` while it is read for the first time.
    result: Option<IccResult>,
    is_reading: bool,
    /// The result is newer than what is being read.
    is_superseded: bool,
    /// The next look at it has it read: it was never read, or may have changed since.
    is_outdated: bool,
}

impl IccFile {
    /// Takes a result over, whatever is being read.
    fn replace(&mut self, result: IccResult) {
        (self.result, self.is_outdated, self.is_superseded) = (Some(result), false, self.is_reading);
    }
}

/// The ICC profiles that outputs are configured with.
#[derive(Debug, Default)]
pub struct IccFiles {
    files: HashMap<PathBuf, IccFile>,
    /// The ICC profiles that the user's profile names, as they were read with it.
    of_user: HashMap<PathBuf, IccResult>,
    to_read: Vec<PathBuf>,
}

impl IccFiles {
    /// Returns what is known of a file, and has it read if necessary; `None` if it was never read.
    /// Until a file is read again, its last profile stays in use.
    pub fn look(&mut self, path: &Path) -> Option<IccResult> {
        if !self.files.contains_key(path) {
            let result = self.of_user.get(path).cloned();
            let is_outdated = result.is_none();
            self.files.insert(path.to_owned(), IccFile { result, is_outdated, ..IccFile::default() });
        }
        let file = self.files.get_mut(path)?;
        if file.is_outdated && !file.is_reading {
            (file.is_outdated, file.is_reading) = (false, true);
            self.to_read.push(path.to_owned());
        }
        // A file that cannot be used is read again, as it may be repaired then.
        file.is_outdated |= matches!(file.result, Some(Err(_)));
        file.result.clone()
    }

    /// Returns the files to read now. [`Self::read_ended`] follows for each.
    pub fn take_to_read(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.to_read)
    }

    /// Notes what reading a file gave. Returns whether that is new: then outputs are configured
    /// again.
    pub fn read_ended(&mut self, path: &Path, result: IccResult) -> bool {
        // Not used any more.
        let Some(file) = self.files.get_mut(path) else { return false };
        file.is_reading = false;
        if std::mem::take(&mut file.is_superseded) || file.result.as_ref() == Some(&result) {
            // It may have changed while it was read.
            return file.is_outdated && matches!(file.result, Some(Ok(_)));
        }
        // The look that follows reports the error; the one after that has it read again.
        file.is_outdated &= result.is_ok();
        file.result = Some(result);
        true
    }

    /// Notes that reading a file could not be started. A profile that is known stays in use.
    /// Returns as [`Self::read_ended`] does.
    pub fn read_failed(&mut self, path: &Path, error: String) -> bool {
        match self.files.get_mut(path) {
            Some(file) if matches!(file.result, Some(Ok(_))) => {
                (file.is_reading, file.is_outdated) = (false, true);
                false
            }
            _ => self.read_ended(path, Err(error)),
        }
    }

    /// Adds a profile that was read for a request, before the request is staged.
    pub fn insert(&mut self, path: &Path, result: IccResult) {
        let file = self.files.entry(path.to_owned()).or_default();
        file.replace(result);
    }

    /// Returns the profile of a file, if it was read and can be used.
    pub fn profile(&self, path: &Path) -> Option<&Arc<IccProfile>> {
        let result = self.files.get(path).and_then(|file| file.result.as_ref());
        result.or_else(|| self.of_user.get(path))?.as_ref().ok()
    }

    /// Has the files that the configuration names read again: they may have changed. Those of the
    /// user's profile are not read here.
    pub fn forget(&mut self) {
        for (path, file) in &mut self.files {
            match self.of_user.get(path) {
                Some(result) => file.replace(result.clone()),
                None => file.is_outdated = true,
            }
        }
    }

    /// Takes over the files that the user's profile names: these are not read here.
    pub fn set_profile_files(&mut self, files: HashMap<PathBuf, IccResult>) {
        for (path, file) in &mut self.files {
            match files.get(path) {
                Some(result) => file.replace(result.clone()),
                None => file.is_outdated |= self.of_user.contains_key(path),
            }
        }
        self.of_user = files;
    }

    /// Drops the profiles of all other files.
    pub fn retain(&mut self, used: &HashSet<PathBuf>) {
        self.files.retain(|path, file| file.is_reading || used.contains(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(error: &str) -> IccResult {
        Err(error.to_owned())
    }

    fn profile() -> IccResult {
        let curve = lcms2::ToneCurve::new(2.2);
        let white = lcms2::CIExyY { x: 0.3127, y: 0.3290, Y: 1.0 };
        let primaries = lcms2::CIExyYTRIPLE {
            Red: lcms2::CIExyY { x: 0.680, y: 0.320, Y: 1.0 },
            Green: lcms2::CIExyY { x: 0.265, y: 0.690, Y: 1.0 },
            Blue: lcms2::CIExyY { x: 0.150, y: 0.060, Y: 1.0 },
        };
        let profile = lcms2::Profile::new_rgb(&white, &primaries, &[&curve, &curve, &curve]);
        let bytes = profile.and_then(|profile| profile.icc()).expect("an ICC profile");
        IccProfile::parse(&bytes).map(Arc::new)
    }

    #[test]
    fn file_is_read_once_and_its_profile_stays_in_use_while_it_is_read_again() {
        let (mut files, path) = (IccFiles::default(), Path::new("/a.icc"));
        assert_eq!(files.look(path), None);
        assert_eq!(files.look(path), None, "it is being read");
        assert_eq!(files.take_to_read(), [path]);
        assert!(files.read_ended(path, profile()));
        assert_eq!(files.look(path), Some(profile()));
        assert!(files.take_to_read().is_empty());
        files.forget();
        assert_eq!(files.look(path), Some(profile()));
        assert_eq!(files.take_to_read(), [path]);
        assert!(!files.read_ended(path, profile()), "the file is the same");
        assert!(files.profile(path).is_some());
        assert!(files.take_to_read().is_empty());
    }

    /// The thread may have read the file before it changed.
    #[test]
    fn file_that_changed_while_it_was_read_is_read_again() {
        let (mut files, path) = (IccFiles::default(), Path::new("/a.icc"));
        files.insert(path, profile());
        for _ in 0..2 {
            files.forget();
            files.look(path);
        }
        assert_eq!(files.take_to_read(), [path]);
        assert!(files.read_ended(path, profile()), "look at it again");
        files.look(path);
        assert_eq!(files.take_to_read(), [path]);
        assert!(!files.read_ended(path, profile()));
    }

    #[test]
    fn older_read_does_not_replace_a_newer_profile() {
        let (mut files, path) = (IccFiles::default(), Path::new("/a.icc"));
        files.look(path);
        files.insert(path, profile());
        assert!(!files.read_ended(path, failed("missing")));
        files.forget();
        files.look(path);
        files.set_profile_files(HashMap::from([(path.to_owned(), profile())]));
        assert!(!files.read_ended(path, failed("missing")));
        assert_eq!(files.look(path), Some(profile()));
    }

    #[test]
    fn known_profile_stays_if_no_thread_can_be_started() {
        let (mut files, path) = (IccFiles::default(), Path::new("/a.icc"));
        files.look(path);
        assert!(files.read_failed(path, "no thread".to_owned()));
        files.insert(path, profile());
        files.forget();
        files.look(path);
        assert!(!files.read_failed(path, "no thread".to_owned()));
        assert_eq!(files.look(path), Some(profile()));
    }

    #[test]
    fn unusable_file_is_read_again_and_reported_only_if_that_differs() {
        let (mut files, path) = (IccFiles::default(), Path::new("/a.icc"));
        files.look(path);
        files.take_to_read();
        assert!(files.read_ended(path, failed("missing")));
        // The reconfiguration that follows reports it, and reads nothing.
        assert_eq!(files.look(path), Some(failed("missing")));
        assert!(files.take_to_read().is_empty());
        for _ in 0..2 {
            assert_eq!(files.look(path), Some(failed("missing")));
            assert_eq!(files.take_to_read(), [path]);
            assert!(!files.read_ended(path, failed("missing")));
        }
        files.look(path);
        assert!(files.read_ended(path, profile()));
        assert_eq!(files.look(path), Some(profile()));
    }

    #[test]
    fn unused_files_are_dropped() {
        let (mut files, path) = (IccFiles::default(), Path::new("/a.icc"));
        files.look(path);
        files.retain(&HashSet::new());
        assert!(files.read_ended(path, profile()), "not while it is read");
        files.retain(&HashSet::from([path.to_owned()]));
        assert!(files.profile(path).is_some());
        files.retain(&HashSet::new());
        assert!(files.profile(path).is_none());
        assert!(!files.read_ended(path, profile()), "nothing uses it");
    }

    #[test]
    fn files_of_the_user_s_profile_are_not_read_again() {
        let (mut files, path) = (IccFiles::default(), Path::new("/a.icc"));
        files.look(path);
        files.take_to_read();
        files.read_ended(path, failed("missing"));
        files.set_profile_files(HashMap::from([(path.to_owned(), profile())]));
        assert_eq!(files.look(path), Some(profile()));
        files.retain(&HashSet::new());
        assert_eq!(files.look(path), Some(profile()));
        files.forget();
        assert_eq!(files.look(path), Some(profile()));
        assert!(files.take_to_read().is_empty());
    }

    #[test]
    fn profile_that_was_read_for_a_request_is_used() {
        let (mut files, path) = (IccFiles::default(), Path::new("/a.icc"));
        files.insert(path, profile());
        assert_eq!(files.look(path), Some(profile()));
        assert!(files.take_to_read().is_empty());
    }
}
