//! A GLES context that tells of its GPU's resets, where EGL has such.
//!
//! Source: EGL_EXT_create_context_robustness, GL_EXT_robustness (also in KHR_robustness). Without it some drivers end the program whose
//! context is lost.

use std::ffi::c_void;

use smithay::backend::egl::context::{GlAttributes, PixelFormatRequirements};
use smithay::backend::egl::{ffi::egl, get_proc_address, EGLContext, EGLDisplay};
use tracing::debug;

const STRATEGY: i32 = 0x3138; // CONTEXT_OPENGL_RESET_NOTIFICATION_STRATEGY_EXT
const LOSE_ON_RESET: i32 = 0x31BF; // LOSE_CONTEXT_ON_RESET_EXT
const EXTENSION: &str = "EGL_EXT_create_context_robustness";

/// `glGetGraphicsResetStatusEXT`.
type Status = unsafe extern "system" fn() -> u32;
const NO_ERROR: u32 = 0;

/// Asks about a context's loss, and ends it: one that was made here is nobody else's to end.
pub struct ResetWatch {
    display: EGLDisplay,
    context: *const c_void,
    status: Option<Status>,
}

impl ResetWatch {
    /// It would be told of a reset.
    pub fn tells(&self) -> bool {
        self.status.is_some()
    }

    /// Whether the GPU was reset since the context was made, which must be current.
    pub fn is_lost(&self) -> bool {
        #[cfg(debug_assertions)]
        if fault::is_injected() {
            return true;
        }
        // SAFETY: of the EGL that made the context, which is current.
        self.status.is_some_and(|status| unsafe { status() } != NO_ERROR)
    }
}

impl Drop for ResetWatch {
    fn drop(&mut self) {
        // SAFETY: made by `watched`, and its renderer is gone.
        unsafe { egl::DestroyContext(**self.display.get_display_handle(), self.context) };
    }
}

/// A context with somebody who watches it.
///
/// # Errors
/// EGL's, in words.
pub fn watched(display: &EGLDisplay) -> Result<(EGLContext, ResetWatch), String> {
    let wanted = GlAttributes { version: (2, 0), profile: None, debug: false, vsync: false };
    let any = PixelFormatRequirements {
        hardware_accelerated: None,
        color_bits: None,
        float_color_buffer: false,
        alpha_bits: None,
        depth_bits: None,
        stencil_bits: None,
        multisampling: None,
    };
    let (_, config) = display.choose_config(wanted, any).map_err(|error| error.to_string())?;
    let handle = **display.get_display_handle();
    let version = [egl::CONTEXT_CLIENT_VERSION as i32, 2];
    let create = |more: &[i32]| {
        let attributes: Vec<i32> = [&version, more, &[egl::NONE as i32]].concat();
        // SAFETY: a display and a configuration of EGL's own, and a list that ends.
        unsafe { egl::CreateContext(handle, config, egl::NO_CONTEXT, attributes.as_ptr()) }
    };
    let mut context = std::ptr::null();
    if display.extensions().iter().any(|known| known == EXTENSION) {
        context = create(&[STRATEGY, LOSE_ON_RESET]);
    }
    let tells = !context.is_null();
    if !tells {
        debug!("EGL does not tell of a GPU's resets");
        context = create(&[]);
    }
    if context.is_null() {
        return Err("eglCreateContext failed".into());
    }
    // SAFETY: a context that tells of resets has the function, of this type (EGL_EXT_create_context_robustness requires GL_EXT_robustness).
    let status = unsafe {
        let address = if tells { get_proc_address("glGetGraphicsResetStatusEXT") } else { std::ptr::null() };
        (!address.is_null()).then(|| std::mem::transmute::<*const c_void, Status>(address))
    };
    let watch = ResetWatch { display: display.clone(), context, status };
    // SAFETY: all three are valid as long as the watch is, which the renderer goes before.
    match unsafe { EGLContext::from_raw(handle, config, context) } {
        Ok(context) => Ok((context, watch)),
        Err(error) => Err(error.to_string()),
    }
}

/// A loss by order, for tests: no driver of the lab has any.
#[cfg(debug_assertions)]
mod fault {
    /// Names a file; whoever makes it has the context lost once.
    const VARIABLE: &str = "GEOM_COMPOSITOR_LOSE_CONTEXT";

    pub fn is_injected() -> bool {
        std::env::var_os(VARIABLE).is_some_and(|file| std::fs::remove_file(file).is_ok())
    }
}
