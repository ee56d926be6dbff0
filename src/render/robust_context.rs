//! A GLES context that reports resets of its GPU, if EGL supports that.
//!
//! Sources: EGL_EXT_create_context_robustness and GL_EXT_robustness (also in KHR_robustness).
//! Without them some drivers end the program whose context is lost.

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

/// Asks whether a context was lost. It also destroys the context: Smithay destroys only those that
/// it created.
pub struct ResetWatch {
    display: EGLDisplay,
    context: *const c_void,
    status: Option<Status>,
}

impl ResetWatch {
    /// Returns whether EGL reports resets.
    pub fn reports_resets(&self) -> bool {
        self.status.is_some()
    }

    /// Returns whether the GPU was reset since the context was created. The context must be
    /// current.
    pub fn is_lost(&self) -> bool {
        #[cfg(debug_assertions)]
        if fault::is_injected() {
            return true;
        }
        // SAFETY: the function belongs to the EGL that created the context, which is current.
        self.status.is_some_and(|status| unsafe { status() } != NO_ERROR)
    }
}

impl Drop for ResetWatch {
    fn drop(&mut self) {
        // SAFETY: created by `robust_context`, and its renderer was dropped before.
        unsafe { egl::DestroyContext(**self.display.get_display_handle(), self.context) };
    }
}

/// Creates a context that reports resets if EGL supports that, and what asks for them.
///
/// # Errors
///
/// EGL's error, as text.
pub fn robust_context(display: &EGLDisplay) -> Result<(EGLContext, ResetWatch), String> {
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
        // SAFETY: the display and the configuration are EGL's, and the list ends with NONE.
        unsafe { egl::CreateContext(handle, config, egl::NO_CONTEXT, attributes.as_ptr()) }
    };
    let mut context = std::ptr::null();
    if display.extensions().iter().any(|known| known == EXTENSION) {
        context = create(&[STRATEGY, LOSE_ON_RESET]);
    }
    let reports_resets = !context.is_null();
    if !reports_resets {
        debug!("EGL does not report GPU resets");
        context = create(&[]);
    }
    if context.is_null() {
        return Err("eglCreateContext failed".into());
    }
    // SAFETY: EGL_EXT_create_context_robustness requires GL_EXT_robustness, whose function has this
    // type.
    let status = unsafe {
        let address =
            if reports_resets { get_proc_address("glGetGraphicsResetStatusEXT") } else { std::ptr::null() };
        (!address.is_null()).then(|| std::mem::transmute::<*const c_void, Status>(address))
    };
    let watch = ResetWatch { display: display.clone(), context, status };
    // SAFETY: all three are valid while the watch exists, and the renderer is dropped before it.
    match unsafe { EGLContext::from_raw(handle, config, context) } {
        Ok(context) => Ok((context, watch)),
        Err(error) => Err(error.to_string()),
    }
}

/// A loss on demand, for tests: no driver of the lab loses contexts.
#[cfg(debug_assertions)]
mod fault {
    /// Names a file. Each time that a test creates it, the context counts as lost once.
    const VARIABLE: &str = "GEOM_COMPOSITOR_LOSE_CONTEXT";

    pub fn is_injected() -> bool {
        std::env::var_os(VARIABLE).is_some_and(|file| std::fs::remove_file(file).is_ok())
    }
}
