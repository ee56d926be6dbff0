#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Prints GL_RENDERER as a Wayland client gets it: EGL of the Wayland display, GLES, no surface."""

import ctypes
import sys

EGL_NONE, EGL_OPENGL_ES_API, EGL_CONTEXT_CLIENT_VERSION = 0x3038, 0x30A0, 0x3098
EGL_PLATFORM_WAYLAND, GL_RENDERER = 0x31D8, 0x1F01

wayland = ctypes.CDLL("libwayland-client.so.0")
egl = ctypes.CDLL("libEGL.so.1")
gles = ctypes.CDLL("libGLESv2.so.2")


def pointer(function, *arguments):
    """Calls a C function that returns a pointer; ends the program if that is null."""
    function.restype = ctypes.c_void_p
    result = function(*arguments)
    if not result:
        sys.exit(f"{function.__name__} failed (eglGetError: {egl.eglGetError():#x})")
    return ctypes.c_void_p(result)


server = pointer(wayland.wl_display_connect, None)
display = pointer(egl.eglGetPlatformDisplay, EGL_PLATFORM_WAYLAND, server, None)
config, count = ctypes.c_void_p(), ctypes.c_int()
for is_done in (
    egl.eglInitialize(display, None, None),
    egl.eglBindAPI(EGL_OPENGL_ES_API),
    egl.eglChooseConfig(display, (ctypes.c_int * 1)(EGL_NONE), ctypes.byref(config), 1, ctypes.byref(count)),
):
    if not is_done:
        sys.exit(f"EGL failed (eglGetError: {egl.eglGetError():#x})")
attributes = (ctypes.c_int * 3)(EGL_CONTEXT_CLIENT_VERSION, 2, EGL_NONE)
context = pointer(egl.eglCreateContext, display, config, None, attributes)
if not egl.eglMakeCurrent(display, None, None, context):
    sys.exit(f"eglMakeCurrent failed (eglGetError: {egl.eglGetError():#x})")
gles.glGetString.restype = ctypes.c_char_p
print(gles.glGetString(GL_RENDERER).decode())
