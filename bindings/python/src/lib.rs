//! What geom_compositor's Python package takes from Rust: values go over as dictionaries and lists, and the package
//! makes its classes of them.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use geom_client::geom_ipc::{ErrorKind, Request};
use geom_client::{Config, Error};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyStopIteration};
use pyo3::prelude::*;
use pythonize::{depythonize, pythonize};

create_exception!(
    geom_compositor,
    CompositorError,
    PyException,
    "What went wrong, in words; the base of the others."
);
create_exception!(geom_compositor, BadArgument, CompositorError, "A value that is not allowed.");
create_exception!(geom_compositor, NotRunning, CompositorError, "No service answers.");
create_exception!(
    geom_compositor,
    StartFailed,
    CompositorError,
    "The service can't be started, or shows nothing."
);
create_exception!(
    geom_compositor,
    NotStarted,
    CompositorError,
    "start() was not called, or stop() was since."
);
create_exception!(geom_compositor, Gone, CompositorError, "The connection ended.");
create_exception!(geom_compositor, TimedOut, CompositorError, "No answer in time.");
create_exception!(geom_compositor, NotAllowed, CompositorError, "This user may not do that.");
create_exception!(geom_compositor, NotFound, CompositorError, "There is no such display, client or window.");

fn raised(error: &Error) -> PyErr {
    let words = error.to_string();
    match error {
        Error::NotRunning(_) => NotRunning::new_err(words),
        Error::Start(_) => StartFailed::new_err(words),
        Error::NotStarted => NotStarted::new_err(words),
        Error::Gone(_) => Gone::new_err(words),
        Error::TimedOut(_) => TimedOut::new_err(words),
        Error::BadArgument(_) => BadArgument::new_err(words),
        Error::Server(error) => match error.kind {
            ErrorKind::NotAllowed => NotAllowed::new_err(words),
            ErrorKind::NotFound => NotFound::new_err(words),
            ErrorKind::BadValue | ErrorKind::BadMessage | ErrorKind::UnknownRequest => {
                BadArgument::new_err(words)
            }
            _ => CompositorError::new_err(words),
        },
        Error::Protocol(_) | Error::Io(_) => CompositorError::new_err(words),
    }
}

/// The compositor's handle.
#[pyclass(frozen)]
struct Compositor(geom_client::Compositor);

#[pymethods]
impl Compositor {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        let config: Config = depythonize(config).map_err(|error| BadArgument::new_err(error.to_string()))?;
        geom_client::Compositor::new(config).map(Self).map_err(|error| raised(&error))
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.start()).map_err(|error| raised(&error))
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.stop()).map_err(|error| raised(&error))
    }

    fn is_running(&self) -> bool {
        self.0.is_running()
    }

    fn owns_service(&self) -> bool {
        self.0.owns_service()
    }

    fn token(&self) -> PyResult<String> {
        self.0.token().map_err(|error| raised(&error))
    }

    fn request<'py>(&self, py: Python<'py>, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let request: Request =
            depythonize(request).map_err(|error| BadArgument::new_err(error.to_string()))?;
        let answer = py.detach(|| self.0.request(request)).map_err(|error| raised(&error))?;
        Ok(pythonize(py, &answer)?)
    }

    fn screenshot(&self, py: Python<'_>, display: &str) -> PyResult<Vec<u8>> {
        py.detach(|| self.0.screenshot(display)).map_err(|error| raised(&error))
    }

    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        py.detach(|| self.0.events()).map(Events).map_err(|error| raised(&error))
    }
}

/// A stream of events.
#[pyclass(frozen)]
struct Events(geom_client::Events);

#[pymethods]
impl Events {
    /// Readable while there are events.
    fn fileno(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }

    /// An event that has come, or None; StopIteration at the session's end.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.0.next_within(Duration::ZERO) {
            Ok(Some(event)) => Ok(Some(pythonize(py, &event)?)),
            Ok(None) => Ok(None),
            Err(Error::Gone(_)) => Err(PyStopIteration::new_err(())),
            Err(error) => Err(raised(&error)),
        }
    }
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add_class::<Compositor>()?;
    module.add_class::<Events>()?;
    module.add("CompositorError", py.get_type::<CompositorError>())?;
    module.add("BadArgument", py.get_type::<BadArgument>())?;
    module.add("NotRunning", py.get_type::<NotRunning>())?;
    module.add("StartFailed", py.get_type::<StartFailed>())?;
    module.add("NotStarted", py.get_type::<NotStarted>())?;
    module.add("Gone", py.get_type::<Gone>())?;
    module.add("TimedOut", py.get_type::<TimedOut>())?;
    module.add("NotAllowed", py.get_type::<NotAllowed>())?;
    module.add("NotFound", py.get_type::<NotFound>())?;
    Ok(())
}
