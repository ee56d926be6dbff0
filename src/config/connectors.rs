//! The section `[connectors]`: what the configuration says about connectors in place of the kernel.

use std::path::{Path, PathBuf};

use geom_display::connector_override::{ConnectorOverride, ConnectorOverrides};
use geom_edid::Edid;

use super::open::{read_system_file, MAX_EDID_BYTES};
use super::reader::{Problem, Reader, Section};

/// A file with the EDID of a connector's monitor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdidFile {
    connector: String,
    path: PathBuf,
}

/// Reads the section. EDID files are read later, by [`read_edid_files`].
pub(super) fn read_connectors(
    root: &mut Section<'_>,
    reader: &mut Reader<'_>,
) -> (ConnectorOverrides, Vec<EdidFile>) {
    let (mut overrides, mut files) = (ConnectorOverrides::new(), Vec::new());
    let Some(mut connectors) = root.section(reader, "connectors") else { return (overrides, files) };
    for (connector, mut section) in connectors.named_sections(reader) {
        let connected = section.boolean(reader, "connected");
        let path = section.value(reader, "edid", "the absolute path of a file with an EDID", |value| {
            value.as_str().map(PathBuf::from).filter(|path| path.is_absolute())
        });
        section.finish(reader);
        files.extend(path.map(|path| EdidFile { connector: connector.clone(), path }));
        overrides.insert(connector, ConnectorOverride { connected, edid: None });
    }
    (overrides, files)
}

/// Reads the files that the section names. `file` is the configuration's file, for the messages.
pub(super) fn read_edid_files(
    overrides: &mut ConnectorOverrides,
    files: &[EdidFile],
    file: &Path,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for EdidFile { connector, path } in files {
        let read = read_system_file(path, MAX_EDID_BYTES).map_err(|error| error.to_string());
        let valid = read.and_then(|bytes| match Edid::parse(&bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(format!("no EDID: {error}")),
        });
        match (valid, overrides.get_mut(connector)) {
            (Ok(bytes), Some(over)) => over.edid = Some(bytes),
            (Ok(_), None) => {}
            (Err(error), _) => {
                let path = path.display();
                let message = format!("connectors.{connector:?}.edid: {path}: {error}");
                problems.push(Problem::of_file(file, message));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::io;

    use crate::config::load;

    #[test]
    fn edid_files_are_read_and_mistakes_affect_only_their_connector() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        // The smallest valid EDID: header, make, version and checksum.
        let mut edid = [0; 128];
        edid[1..7].fill(0xff);
        edid[8..10].copy_from_slice(&[0x1e, 0x6d]);
        edid[18..20].copy_from_slice(&[1, 4]);
        edid[127] = edid.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
        std::fs::write(path("good.bin"), edid)?;
        std::fs::write(path("bad.bin"), [0; 128])?;
        let text = format!(
            "[connectors.HDMI-A-1]\nconnected = true\nedid = {:?}\n[connectors.DP-1]\nedid = {:?}\nconnected = false\n\
             [connectors.DP-2]\nedid = {:?}\n[connectors.DP-3]\nedid = \"good.bin\"\nconnected = 1\n",
            path("good.bin"),
            path("bad.bin"),
            path("missing.bin"),
        );
        std::fs::write(path("config.toml"), text)?;
        let (config, problems) = load(&path("config.toml"));
        let connectors = config.unwrap_or_default().connectors;
        let hdmi = &connectors["HDMI-A-1"];
        assert_eq!((hdmi.connected, hdmi.edid.as_deref()), (Some(true), Some(&edid[..])));
        let without_edid = ["DP-1", "DP-2", "DP-3"].map(|name| {
            let over = &connectors[name];
            (over.connected, over.edid.is_none())
        });
        assert_eq!(without_edid, [(Some(false), true), (None, true), (None, true)]);
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        for part in [
            "config.toml:10: connectors.\"DP-3\".edid = ",
            "config.toml:11: ",
            "bad.bin: no EDID",
            "missing.bin: ",
        ] {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
        }
        assert_eq!(problems.len(), 4, "{problems:#?}");
        Ok(())
    }
}
