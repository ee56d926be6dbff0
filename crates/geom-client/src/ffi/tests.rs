use std::ptr::{null, null_mut};

use super::*;

/// The header is what the code says. `GEOM_WRITE_HEADER=1 cargo test -p geom-client` writes it.
#[test]
fn the_header_is_of_this_code() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["status", "lists", "calls", "events"];
    let mut builder =
        cbindgen::Builder::new().with_config(cbindgen::Config::from_file(folder.join("cbindgen.toml"))?);
    for source in sources {
        builder = builder.with_src(folder.join(format!("src/ffi/{source}.rs")));
    }
    let mut text = Vec::new();
    builder.generate()?.write(&mut text);
    let path = folder.join("include/geom_compositor.h");
    if std::env::var_os("GEOM_WRITE_HEADER").is_some() {
        std::fs::write(&path, &text)?;
    }
    let same = std::fs::read(&path)? == text;
    assert!(same, "{} is stale: GEOM_WRITE_HEADER=1 cargo test -p geom-client", path.display());
    Ok(())
}

#[test]
fn null_is_an_error_or_nothing() {
    // SAFETY: null is allowed everywhere.
    unsafe {
        assert_eq!(geom_compositor_start(null_mut()), geom_status::GEOM_BAD_ARGUMENT);
        let words = std::ffi::CStr::from_ptr(geom_last_error());
        assert_eq!(words.to_str(), Ok("compositor is null"));
        assert_eq!(geom_compositor_new(null(), null_mut()), geom_status::GEOM_BAD_ARGUMENT);
        assert_eq!(geom_events_next(null_mut(), 0, null_mut()), geom_status::GEOM_BAD_ARGUMENT);
        assert_eq!(geom_events_fd(null()), -1);
        assert!(!geom_compositor_is_running(null()));
        geom_compositor_free(null_mut());
        geom_events_free(null_mut());
        geom_event_free(null_mut());
        geom_string_free(null_mut());
        geom_display_list_free(null_mut());
    }
}

#[test]
fn a_config_of_another_size_is_refused() {
    let mut compositor = null_mut();
    // SAFETY: all zero is a config with nothing wished, and room is there.
    let status = unsafe {
        let config: geom_config = std::mem::zeroed();
        geom_compositor_new(&config, &mut compositor)
    };
    assert_eq!(status, geom_status::GEOM_BAD_ARGUMENT);
    assert!(compositor.is_null());
}

#[test]
fn what_was_not_started_says_so() {
    let mut compositor = null_mut();
    let mut displays = null_mut();
    // SAFETY: room is there, and the handle is freed last.
    unsafe {
        assert_eq!(geom_compositor_new(null(), &mut compositor), geom_status::GEOM_OK);
        assert_eq!(geom_compositor_displays(compositor, &mut displays), geom_status::GEOM_NOT_STARTED);
        assert_eq!(geom_compositor_stop(compositor), geom_status::GEOM_OK);
        geom_compositor_free(compositor);
    }
}

#[test]
fn lists_and_events_free_what_they_hold() -> Result<(), serde_json::Error> {
    let text = r#"{"event":"display","display":{"name":"HDMI-A-1","state":"lit","mode":{"width":1,"height":2,"refresh":3},
        "modes":[{"width":1,"height":2,"refresh":3}],"place":{"x":0,"y":0,"width":1,"height":2},"scale":1.0,
        "transform":"normal","losses":0,"focused":true}}"#;
    let happened: geom_ipc::Event = serde_json::from_str(text)?;
    let geom_ipc::Event::Display { display } = &happened else { return Ok(()) };
    let list = lists::display_list(std::slice::from_ref(display));
    // SAFETY: it was made above, and is freed once.
    unsafe {
        let first = &*(*list).items;
        assert_eq!(((*list).count, first.mode.height, first.mode_count), (1, 2, 1));
        assert_eq!(std::ffi::CStr::from_ptr(first.name).to_str(), Ok("HDMI-A-1"));
        geom_display_list_free(list);
    }
    Ok(())
}
