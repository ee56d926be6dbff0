//! The connection type: whether a display or a connection may come back.

use std::fmt;
use std::str::FromStr;

use bitflags::bitflags;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

bitflags! {
    /// What happens when the display that a service was started for is unplugged, or when a control
    /// client's connection breaks.
    ///
    /// Names and bits are the same in every interface. JSON has the names joined by `|`.
    ///
    /// | flags | first disconnect | later ones |
    /// |---|---|---|
    /// | `DISCONNECT_ONCE` | final | |
    /// | `KEEP_CONNECTION_OPEN` (default) | kept | kept |
    /// | both | kept | final |
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct ConnectType: u32 {
        /// A disconnect is final.
        const DISCONNECT_ONCE = 1;
        /// A disconnect is survived: the display or the session is kept until it returns. With both
        /// flags, the first disconnect is survived and the second is final.
        const KEEP_CONNECTION_OPEN = 2;
    }
}

impl Default for ConnectType {
    fn default() -> Self {
        Self::KEEP_CONNECTION_OPEN
    }
}

impl ConnectType {
    /// Returns whether a disconnect is final, given the number of disconnects including this one.
    pub fn is_final(self, disconnects: u32) -> bool {
        self.contains(Self::DISCONNECT_ONCE)
            && (!self.contains(Self::KEEP_CONNECTION_OPEN) || disconnects > 1)
    }
}

impl FromStr for ConnectType {
    type Err = String;

    /// Parses names joined by `,` or `|`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut flags = Self::empty();
        for name in text.split([',', '|']) {
            flags |= Self::from_name(name.trim()).ok_or_else(|| {
                format!(
                    "{name:?} is not a connection type; write DISCONNECT_ONCE, KEEP_CONNECTION_OPEN or both \
                     joined by \",\" or \"|\""
                )
            })?;
        }
        Ok(flags)
    }
}

impl fmt::Display for ConnectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter_names().map(|(name, _)| name).collect();
        f.write_str(&names.join("|"))
    }
}

impl Serialize for ConnectType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConnectType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for ConnectType {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ConnectType".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Names joined by \"|\": DISCONNECT_ONCE, KEEP_CONNECTION_OPEN",
            "pattern": "^(DISCONNECT_ONCE|KEEP_CONNECTION_OPEN)([,|](DISCONNECT_ONCE|KEEP_CONNECTION_OPEN))?$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_bits_and_finality_are_as_documented() {
        let once = ConnectType::DISCONNECT_ONCE;
        let keep = ConnectType::KEEP_CONNECTION_OPEN;
        assert_eq!((once.bits(), keep.bits()), (1, 2));
        assert_eq!("DISCONNECT_ONCE|KEEP_CONNECTION_OPEN".parse(), Ok(once | keep));
        assert_eq!("KEEP_CONNECTION_OPEN, DISCONNECT_ONCE".parse(), Ok(once | keep));
        assert!("ONCE".parse::<ConnectType>().is_err());
        assert_eq!((once | keep).to_string().parse(), Ok(once | keep));
        assert_eq!([1, 2, 3].map(|count| once.is_final(count)), [true, true, true]);
        assert_eq!([1, 2, 3].map(|count| keep.is_final(count)), [false, false, false]);
        assert_eq!([1, 2, 3].map(|count| (once | keep).is_final(count)), [false, true, true]);
    }
}
