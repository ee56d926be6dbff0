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
    self, Error as ParamsError, Request as ParamsRequest, WpImageDescriptionCreatorParamsV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_image_description_info_v1::{
    self, WpImageDescriptionInfoV1,
};
use smithay::reexports::wayland_protocols::wp::color_management::v1::server::wp_image_description_v1::Cause;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle, Resource};
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
    fn is_set(&self, request: &ParamsRequest) -> bool {
        match request {
            ParamsRequest::SetTfNamed { .. } | ParamsRequest::SetTfPower { .. } => self.transfer.is_some(),
            ParamsRequest::SetPrimariesNamed { .. } | ParamsRequest::SetPrimaries { .. } => {
                self.primaries.is_some()
            }
            ParamsRequest::SetLuminances { .. } => self.luminances.is_some(),
            ParamsRequest::SetMasteringDisplayPrimaries { .. } => self.mastering_primaries,
            ParamsRequest::SetMasteringLuminance { .. } => self.mastering_max.is_some(),
            ParamsRequest::SetMaxCll { .. } => self.max_cll,
            ParamsRequest::SetMaxFall { .. } => self.max_fall,
            _ => false,
        }
    }

    /// Sets the parameter of a request.
    ///
    /// # Errors
    /// The protocol's error if it is set already, or its value is not allowed or not supported.
    fn set(&mut self, request: &ParamsRequest) -> Result<(), (ParamsError, &'static str)> {
        if self.is_set(request) {
            return Err((ParamsError::AlreadySet, "the parameter is already set"));
        }
        match *request {
            ParamsRequest::SetTfNamed { tf } => {
                let known = tf.into_result().ok();
                let known = known.and_then(|tf| TRANSFERS.iter().find(|(known, _)| *known == tf));
                let unsupported = (ParamsError::InvalidTf, "the transfer function is not supported");
                self.transfer = Some(known.ok_or(unsupported)?.1);
            }
            ParamsRequest::SetTfPower { eexp } => match eexp {
                10_000..=100_000 => self.transfer = Some(Transfer::Power(f64::from(eexp) / 10_000.0)),
                _ => return Err((ParamsError::InvalidTf, "the exponent must be from 1 to 10")),
            },
            ParamsRequest::SetPrimariesNamed { primaries } => {
                let known = primaries.into_result().ok();
                let known = known.and_then(|named| PRIMARIES.iter().find(|(known, _)| *known == named));
                let unsupported = (ParamsError::InvalidPrimariesNamed, "the primaries are not supported");
                self.primaries = Some(known.ok_or(unsupported)?.1);
            }
            ParamsRequest::SetPrimaries { r_x, r_y, g_x, g_y, b_x, b_y, w_x, w_y } => {
                self.primaries = Some(points([r_x, r_y, g_x, g_y, b_x, b_y, w_x, w_y]));
            }
            ParamsRequest::SetLuminances { min_lum, max_lum, reference_lum } => {
                let min = f64::from(min_lum) / 10_000.0;
                let (max, reference) = (f64::from(max_lum), f64::from(reference_lum));
                if max <= min || reference <= min {
                    let message = "the minimum must be below the maximum and the reference";
                    return Err((ParamsError::InvalidLuminance, message));
                }
                self.luminances = Some(Luminances { min, max, reference });
            }
            ParamsRequest::SetMasteringDisplayPrimaries { .. } => self.mastering_primaries = true,
            ParamsRequest::SetMasteringLuminance { min_lum, max_lum } => {
                let max = f64::from(max_lum);
                if max <= f64::from(min_lum) / 10_000.0 {
                    return Err((ParamsError::InvalidLuminance, "the minimum must be below the maximum"));
                }
                self.mastering_max = Some(max);
            }
            ParamsRequest::SetMaxCll { .. } => self.max_cll = true,
            ParamsRequest::SetMaxFall { .. } => self.max_fall = true,
            _ => {}
        }
        Ok(())
    }

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
        let mut params = data.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ParamsRequest::Create { image_description } = request else {
            if let Err((error, message)) = params.set(&request) {
                creator.post_error(error, message);
            }
            return;
        };
        let Some(description) = params.description() else {
            state.init_description(image_description, Err((Cause::Unsupported, "")), false, init);
            creator.post_error(ParamsError::IncompleteSet, "primaries and a transfer function are required");
            return;
        };
        // Primaries on a line span no gamut.
        let spans_gamut = conversion_matrix(&description.primaries, &SRGB).is_some();
        let answer =
            spans_gamut.then_some(description).ok_or((Cause::Unsupported, "the primaries span no gamut"));
        state.init_description(image_description, answer, false, init);
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
