//! What probes find.

use geom_display::output_config::Transform;

use super::Rig;
use crate::fake::FakeDevice;

/// Returns the transform of each connector's panel.
fn orientations(rig: &Rig) -> Vec<Transform> {
    rig.device.connectors().iter().map(|connector| connector.state.panel_orientation).collect()
}

/// With its left side up, a panel is mounted turned to the right, and the image is turned to the
/// left on it.
#[test]
fn panels_that_are_built_in_turned_have_a_transform() {
    let fake = FakeDevice::with_outputs(5);
    for (connector, value) in fake.connectors().into_iter().zip(0..4) {
        fake.add_panel_orientation(connector, value);
    }
    let rig = Rig::new(fake);
    let turned = [Transform::Rotated180, Transform::Rotated90, Transform::Rotated270];
    let expected = [&[Transform::Normal], &turned[..], &[Transform::Normal]].concat();
    assert_eq!(orientations(&rig), expected);
}
