//! A GLES context that reports resets of its GPU and that goes before clients', if EGL supports
//! that.
//!
//! Sources: EGL_EXT_create_context_robustness and GL_EXT_robustness (also in KHR_robustness).
//! Without them some drivers end the program whose context is lost. EGL_IMG_context_priority:
//! without it a frame waits for all that clients have given to the GPU before.

use std::ffi::c_void;

use smithay::backend::egl::context::{GlAttributes, PixelFormatRequirements};
use smithay::backend::egl::{ffi::egl, get_proc_address, EGLContext, EGLDisplay};
use tracing::debug;

const STRATEGY: i32 = 0x3138; // CONTEXT_OPENGL_RESET_NOTIFICATION_STRATEGY_EXT
const LOSE_ON_RESET: i32 = 0x31BF; // LOSE_CONTEXT_ON_RESET_EXT
const ROBUSTNESS: &str = "EGL_EXT_create_context_robustness";

const PRIORITY_LEVEL: i32 = 0x3100; // CONTEXT_PRIORITY_LEVEL_IMG
const PRIORITY_HIGH: i32 = 0x3101; // CONTEXT_PRIORITY_HIGH_IMG
const PRIORITY: &str = "EGL_IMG_context_priority";

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
    let has = |extension: &str| display.extensions().iter().any(|known| known == extension);
    let (resets, priority): (&[i32], &[i32]) = (&[STRATEGY, LOSE_ON_RESET], &[PRIORITY_LEVEL, PRIORITY_HIGH]);
    // A driver may refuse one of them for this program.
    let wanted = [(true, true), (true, false), (false, true), (false, false)];
    let supported = wanted
        .into_iter()
        .filter(|(reports, goes_first)| (!reports || has(ROBUSTNESS)) && (!goes_first || has(PRIORITY)));
    let mut context = std::ptr::null();
    let mut reports_resets = false;
    for (reports, goes_first) in supported {
        let reset_attributes = if reports { resets } else { &[] };
        let priority_attributes = if goes_first { priority } else { &[] };
        context = create(&[reset_attributes, priority_attributes].concat());
        if !context.is_null() {
            reports_resets = reports;
            debug!(reports_resets, high_priority = goes_first, "GLES context created");
            break;
        }
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
