//! What the configuration says about a connector in place of the kernel: for a KVM switch that
//! hides the monitor, an EDID that cannot be read or is wrong, a connector with nothing attached.

use std::collections::BTreeMap;

/// What is used of a connector instead of what the kernel reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectorOverride {
    /// Whether a monitor counts as connected.
    pub connected: Option<bool>,
    /// The monitor's EDID.
    pub edid: Option<Vec<u8>>,
}

/// By the kernel's name of the connector, such as `HDMI-A-1`.
pub type ConnectorOverrides = BTreeMap<String, ConnectorOverride>;
