//! Native module of the Python package geom_compositor. Values cross as dictionaries and lists; the
//! package makes its dataclasses of them.

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
    "A failed call. Base class of the other errors."
);
create_exception!(
    geom_compositor,
    BadArgument,
    CompositorError,
    "An argument is not allowed, or the service refuses its value."
);
create_exception!(
    geom_compositor,
    NotRunning,
    CompositorError,
    "No service accepts connections at the control socket."
);
create_exception!(
    geom_compositor,
    StartFailed,
    CompositorError,
    "The service could not be started, or presented no frame in time."
);
create_exception!(
    geom_compositor,
    NotStarted,
    CompositorError,
    "start() was not called, or stop() was called since."
);
create_exception!(geom_compositor, Disconnected, CompositorError, "The connection ended.");
create_exception!(geom_compositor, TimedOut, CompositorError, "The service did not reply in time.");
create_exception!(geom_compositor, NotAllowed, CompositorError, "This user may not do that.");
create_exception!(geom_compositor, NotFound, CompositorError, "There is no such display, client or window.");

/// Converts an error to the exception for it.
fn to_exception(error: &Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::NotRunning(_) => NotRunning::new_err(message),
        Error::StartFailed(_) => StartFailed::new_err(message),
        Error::NotPermitted(_) => NotAllowed::new_err(message),
        Error::NotStarted => NotStarted::new_err(message),
        Error::Disconnected(_) => Disconnected::new_err(message),
        Error::TimedOut(_) => TimedOut::new_err(message),
        Error::BadArgument(_) => BadArgument::new_err(message),
        Error::Server(error) => match error.kind {
            ErrorKind::NotAllowed => NotAllowed::new_err(message),
            ErrorKind::NotFound => NotFound::new_err(message),
            ErrorKind::BadValue | ErrorKind::BadMessage | ErrorKind::UnknownRequest => {
                BadArgument::new_err(message)
            }
            _ => CompositorError::new_err(message),
        },
        Error::Protocol(_) | Error::Io(_) => CompositorError::new_err(message),
    }
}

/// `geom_client::Compositor`, without the GIL while a call waits.
#[pyclass(frozen)]
struct Compositor(geom_client::Compositor);

#[pymethods]
impl Compositor {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        let config: Config = depythonize(config).map_err(|error| BadArgument::new_err(error.to_string()))?;
        geom_client::Compositor::new(config).map(Self).map_err(|error| to_exception(&error))
    }

    fn start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.start()).map_err(|error| to_exception(&error))
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.stop()).map_err(|error| to_exception(&error))
    }

    fn is_running(&self) -> bool {
        self.0.is_running()
    }

    fn owns_service(&self) -> bool {
        self.0.owns_service()
    }

    fn token(&self) -> PyResult<String> {
        self.0.token().map_err(|error| to_exception(&error))
    }

    fn request<'py>(&self, py: Python<'py>, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let request: Request =
            depythonize(request).map_err(|error| BadArgument::new_err(error.to_string()))?;
        let response = py.detach(|| self.0.request(request)).map_err(|error| to_exception(&error))?;
        Ok(pythonize(py, &response)?)
    }

    fn screenshot(&self, py: Python<'_>, display: &str) -> PyResult<Vec<u8>> {
        py.detach(|| self.0.screenshot(display)).map_err(|error| to_exception(&error))
    }

    fn events(&self, py: Python<'_>) -> PyResult<Events> {
        py.detach(|| self.0.events()).map(Events).map_err(|error| to_exception(&error))
    }
}

/// A stream of events.
#[pyclass(frozen)]
struct Events(geom_client::Events);

#[pymethods]
impl Events {
    /// Returns a descriptor that is readable while there are events.
    fn fileno(&self) -> i32 {
        self.0.as_fd().as_raw_fd()
    }

    /// Returns the next event that has arrived, or None. Raises StopIteration if the session has
    /// ended.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.0.next_within(Duration::ZERO) {
            Ok(Some(event)) => Ok(Some(pythonize(py, &event)?)),
            Ok(None) => Ok(None),
            Err(Error::Disconnected(_)) => Err(PyStopIteration::new_err(())),
            Err(error) => Err(to_exception(&error)),
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
    module.add("Disconnected", py.get_type::<Disconnected>())?;
    module.add("TimedOut", py.get_type::<TimedOut>())?;
    module.add("NotAllowed", py.get_type::<NotAllowed>())?;
    module.add("NotFound", py.get_type::<NotFound>())?;
    Ok(())
}
