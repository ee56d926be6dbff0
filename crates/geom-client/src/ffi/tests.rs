use std::ptr::{null, null_mut};

use super::*;

/// `GEOM_WRITE_HEADER=1 cargo test -p geom-client` updates the header.
#[test]
fn header_is_up_to_date() -> Result<(), Box<dyn std::error::Error>> {
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
fn null_is_an_error_or_has_no_effect() {
    // SAFETY: the functions allow null pointers.
    unsafe {
        assert_eq!(geom_compositor_start(null_mut()), geom_status::GEOM_BAD_ARGUMENT);
        let message = std::ffi::CStr::from_ptr(geom_last_error());
        assert_eq!(message.to_str(), Ok("compositor is null"));
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
fn config_of_another_size_is_refused() {
    let mut compositor = null_mut();
    // SAFETY: null pointers and zeros are valid field values, and `compositor` is a variable.
    let status = unsafe {
        let config: geom_config = std::mem::zeroed();
        geom_compositor_new(&config, &mut compositor)
    };
    assert_eq!(status, geom_status::GEOM_BAD_ARGUMENT);
    assert!(compositor.is_null());
}

#[test]
fn calls_before_start_fail_with_not_started() {
    let mut compositor = null_mut();
    let mut displays = null_mut();
    // SAFETY: the results are variables, and the handle is freed last.
    unsafe {
        assert_eq!(geom_compositor_new(null(), &mut compositor), geom_status::GEOM_OK);
        assert_eq!(geom_compositor_displays(compositor, &mut displays), geom_status::GEOM_NOT_STARTED);
        assert_eq!(geom_compositor_stop(compositor), geom_status::GEOM_OK);
        geom_compositor_free(compositor);
    }
}

/// Events of later versions do not break programs.
#[test]
fn event_of_a_later_version_is_called_unknown() -> Result<(), Box<dyn std::error::Error>> {
    let later: geom_ipc::Event = serde_json::from_str(r#"{"event":"of_a_later_version","with":1}"#)?;
    let event = Box::into_raw(Box::new(events::event(&later)?));
    // SAFETY: the event comes from event() and is freed once.
    unsafe {
        assert_eq!(std::ffi::CStr::from_ptr((*event).name).to_str(), Ok("unknown"));
        geom_event_free(event);
    }
    Ok(())
}

#[test]
fn list_has_its_entries_and_can_be_freed() -> Result<(), serde_json::Error> {
    let text = r#"{"event":"display","display":{"name":"HDMI-A-1","state":"enabled","mode":{"width":1,"height":2,"refresh":3},
        "modes":[{"width":1,"height":2,"refresh":3}],"logical":{"x":0,"y":0,"width":1,"height":2},"scale":1.0,
        "transform":"normal","disconnects":0,"focused":true}}"#;
    let happened: geom_ipc::Event = serde_json::from_str(text)?;
    let geom_ipc::Event::Display { display } = &happened else { return Ok(()) };
    let list = lists::display_list(std::slice::from_ref(display));
    // SAFETY: the list comes from display_list(), and is freed once.
    unsafe {
        let first = &*(*list).items;
        assert_eq!(((*list).count, first.mode.height, first.mode_count), (1, 2, 1));
        assert_eq!(std::ffi::CStr::from_ptr(first.name).to_str(), Ok("HDMI-A-1"));
        geom_display_list_free(list);
    }
    Ok(())
}
