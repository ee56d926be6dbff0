//! Image descriptions of color-management: created from parameters, and sent as parameters.
//!
//! Source: color-management-v1.xml, wp_image_description_creator_params_v1 and
//! wp_image_description_info_v1.

use std::sync::{Mutex, PoisonError};

use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_color_manager_v1::Primaries as Named;
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_image_description_creator_icc_v1::{
    self, WpImageDescriptionCreatorIccV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_image_description_creator_params_v1::{
    self, WpImageDescriptionCreatorParamsV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_image_description_info_v1::{
    self, WpImageDescriptionInfoV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_image_description_v1::Cause;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle, Resource, WEnum};
use geom_color::primaries::{conversion_matrix, Primaries, BT2020, DISPLAY_P3, SRGB};
use geom_color::image_description::{ImageDescription, Luminances, TransferFunction as Transfer};

use super::color_management::TRANSFERS;
use crate::compositor::State;

const D65: (f64, f64) = (0.3127, 0.3290);

/// Primaries by the protocol's names, with the values that it gives for each.
pub const PRIMARIES: [(Named, Primaries); 6] = [
    (Named::Srgb, SRGB),
    (Named::Pal, [(0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65]),
    (Named::Ntsc, [(0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65]),
    (Named::Bt2020, BT2020),
    (Named::DisplayP3, DISPLAY_P3),
    (Named::AdobeRgb, [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65]),
];

/// The user data of a `wp_image_description_v1`.
pub struct DescriptionData {
    /// `None` if it failed.
    pub description: Option<ImageDescription>,
    /// Clients may ask for its parameters: the compositor made it.
    pub has_information: bool,
}

/// The parameters that a client has set.
#[derive(Default)]
pub struct Creator(Mutex<Params>);

#[derive(Default)]
struct Params {
    transfer: Option<Transfer>,
    primaries: Option<Primaries>,
    luminances: Option<Luminances>,
    mastering_primaries: bool,
    mastering_max: Option<f64>,
    max_cll: bool,
    max_fall: bool,
}

impl Params {
    fn description(&self) -> Option<ImageDescription> {
        let (transfer, primaries) = (self.transfer?, self.primaries?);
        let luminances = match (self.luminances, transfer) {
            // PQ has its own range; only the reference luminance is the client's.
            (Some(luminances), Transfer::Pq) => Luminances { max: luminances.min + 10_000.0, ..luminances },
            (Some(luminances), _) => luminances,
            (None, _) => transfer.luminances(),
        };
        Some(ImageDescription { primaries, transfer, luminances, mastering_max: self.mastering_max })
    }
}

/// Returns primaries and white point from millionths.
fn points(numbers: [i32; 8]) -> Primaries {
    let value = |index: usize| f64::from(numbers[index]) / 1e6;
    std::array::from_fn(|point| (value(2 * point), value(2 * point + 1)))
}

impl Dispatch<WpImageDescriptionCreatorParamsV1, Creator> for State {
    fn request(
        state: &mut Self,
        _: &Client,
        creator: &WpImageDescriptionCreatorParamsV1,
        request: wp_image_description_creator_params_v1::Request,
        data: &Creator,
        _: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use wp_image_description_creator_params_v1::{Error, Request};
        let mut params = data.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_set = match &request {
            Request::SetTfNamed { .. } | Request::SetTfPower { .. } => params.transfer.is_some(),
            Request::SetPrimariesNamed { .. } | Request::SetPrimaries { .. } => params.primaries.is_some(),
            Request::SetLuminances { .. } => params.luminances.is_some(),
            Request::SetMasteringDisplayPrimaries { .. } => params.mastering_primaries,
            Request::SetMasteringLuminance { .. } => params.mastering_max.is_some(),
            Request::SetMaxCll { .. } => params.max_cll,
            Request::SetMaxFall { .. } => params.max_fall,
            _ => false,
        };
        if is_set {
            return creator.post_error(Error::AlreadySet, "the parameter is already set");
        }
        match request {
            Request::SetTfNamed { tf } => {
                let known = tf.into_result().ok();
                let known = known.and_then(|tf| TRANSFERS.iter().find(|(known, _)| *known == tf));
                match known {
                    Some((_, transfer)) => params.transfer = Some(*transfer),
                    None => creator.post_error(Error::InvalidTf, "the transfer function is not supported"),
                }
            }
            Request::SetTfPower { eexp } => match eexp {
                10_000..=100_000 => params.transfer = Some(Transfer::Power(f64::from(eexp) / 10_000.0)),
                _ => creator.post_error(Error::InvalidTf, "the exponent must be from 1 to 10"),
            },
            Request::SetPrimariesNamed { primaries } => {
                let known = match primaries {
                    WEnum::Value(named) => PRIMARIES.iter().find(|(known, _)| *known == named),
                    WEnum::Unknown(_) => None,
                };
                match known {
                    Some((_, primaries)) => params.primaries = Some(*primaries),
                    None => {
                        creator.post_error(Error::InvalidPrimariesNamed, "the primaries are not supported")
                    }
                }
            }
            Request::SetPrimaries { r_x, r_y, g_x, g_y, b_x, b_y, w_x, w_y } => {
                params.primaries = Some(points([r_x, r_y, g_x, g_y, b_x, b_y, w_x, w_y]));
            }
            Request::SetLuminances { min_lum, max_lum, reference_lum } => {
                let min = f64::from(min_lum) / 10_000.0;
                let (max, reference) = (f64::from(max_lum), f64::from(reference_lum));
                if max <= min || reference <= min {
                    return creator.post_error(
                        Error::InvalidLuminance,
                        "the minimum must be below the maximum and the reference",
                    );
                }
                params.luminances = Some(Luminances { min, max, reference });
            }
            Request::SetMasteringDisplayPrimaries { .. } => params.mastering_primaries = true,
            Request::SetMasteringLuminance { min_lum, max_lum } => {
                let max = f64::from(max_lum);
                if max <= f64::from(min_lum) / 10_000.0 {
                    return creator
                        .post_error(Error::InvalidLuminance, "the minimum must be below the maximum");
                }
                params.mastering_max = Some(max);
            }
            Request::SetMaxCll { .. } => params.max_cll = true,
            Request::SetMaxFall { .. } => params.max_fall = true,
            Request::Create { image_description } => {
                let Some(description) = params.description() else {
                    state.init_description(image_description, Err((Cause::Unsupported, "")), false, init);
                    creator
                        .post_error(Error::IncompleteSet, "primaries and a transfer function are required");
                    return;
                };
                // Primaries on a line span no gamut.
                let spans_gamut = conversion_matrix(&description.primaries, &SRGB).is_some();
                let answer = spans_gamut
                    .then_some(description)
                    .ok_or((Cause::Unsupported, "the primaries span no gamut"));
                state.init_description(image_description, answer, false, init);
            }
            _ => {}
        }
    }
}

impl Dispatch<WpImageDescriptionCreatorIccV1, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &WpImageDescriptionCreatorIccV1,
        _: wp_image_description_creator_icc_v1::Request,
        (): &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        // Not supported: the request that creates it disconnects the client.
    }
}

impl Dispatch<WpImageDescriptionInfoV1, ()> for State {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &WpImageDescriptionInfoV1,
        _: wp_image_description_info_v1::Request,
        (): &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
        // The interface has no requests.
    }
}

/// Sends the parameters of an image description.
pub fn send_information(information: &WpImageDescriptionInfoV1, description: &ImageDescription) {
    let millionths = |value: f64| (value * 1e6).round() as i32;
    let [red, green, blue, white] = description.primaries.map(|(x, y)| (millionths(x), millionths(y)));
    information.primaries(red.0, red.1, green.0, green.1, blue.0, blue.1, white.0, white.1);
    if let Some((named, _)) = PRIMARIES.iter().find(|(_, known)| *known == description.primaries) {
        information.primaries_named(*named);
    }
    match TRANSFERS.iter().find(|(_, known)| *known == description.transfer) {
        Some((named, _)) => information.tf_named(*named),
        None => {
            if let Transfer::Power(exponent) = description.transfer {
                information.tf_power((exponent * 10_000.0).round() as u32);
            }
        }
    }
    let Luminances { min, max, reference } = description.luminances;
    let min = (min * 10_000.0).round() as u32;
    information.luminances(min, max.round() as u32, reference.round() as u32);
    information.target_primaries(red.0, red.1, green.0, green.1, blue.0, blue.1, white.0, white.1);
    let max = description.mastering_max.unwrap_or(max);
    information.target_luminance(min, max.round() as u32);
    information.done();
}
