//! How the loss of a display or of a connection is taken.

use std::fmt;
use std::str::FromStr;

use bitflags::bitflags;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

bitflags! {
    /// How the loss of a display or of a client's connection is taken; the same names and bits in every
    /// interface. As JSON: the names joined by `|`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub struct ConnectType: u32 {
        /// A loss is final.
        const DISCONNECT_ONCE = 1;
        /// A loss is waited out. With both, the first is waited out and the second is final.
        const KEEP_CONNECTION_OPEN = 2;
    }
}

impl Default for ConnectType {
    fn default() -> Self {
        Self::KEEP_CONNECTION_OPEN
    }
}

impl ConnectType {
    /// Whether the loss with this number, from 1, is the last.
    pub fn is_final(self, losses: u32) -> bool {
        self.contains(Self::DISCONNECT_ONCE) && (!self.contains(Self::KEEP_CONNECTION_OPEN) || losses > 1)
    }
}

impl FromStr for ConnectType {
    type Err = String;

    /// Names joined by `,` or `|`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::empty();
        for name in text.split([',', '|']) {
            all |= Self::from_name(name.trim()).ok_or_else(|| {
                format!("{name:?} is no connection type; write DISCONNECT_ONCE, KEEP_CONNECTION_OPEN or both joined by \",\" or \"|\"")
            })?;
        }
        Ok(all)
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
    fn names_bits_and_losses() {
        let once = ConnectType::DISCONNECT_ONCE;
        let keep = ConnectType::KEEP_CONNECTION_OPEN;
        assert_eq!((once.bits(), keep.bits()), (1, 2));
        assert_eq!("DISCONNECT_ONCE|KEEP_CONNECTION_OPEN".parse(), Ok(once | keep));
        assert_eq!("KEEP_CONNECTION_OPEN, DISCONNECT_ONCE".parse(), Ok(once | keep));
        assert!("ONCE".parse::<ConnectType>().is_err());
        assert_eq!((once | keep).to_string().parse(), Ok(once | keep));
        assert_eq!([1, 2, 3].map(|loss| once.is_final(loss)), [true, true, true]);
        assert_eq!([1, 2, 3].map(|loss| keep.is_final(loss)), [false, false, false]);
        assert_eq!([1, 2, 3].map(|loss| (once | keep).is_final(loss)), [false, true, true]);
    }
}
