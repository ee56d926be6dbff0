//! The memory that the Wayland library itself uses per connection, to be subtracted from the
//! service's: a server with nothing but the library and one global, in a separate process.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::event::{poll, PollFd, PollFlags};
use wayland_protocols::xdg::shell::server::xdg_wm_base::{self, XdgWmBase};
use wayland_server::{Client, DataInit, Dispatch, Display, DisplayHandle, GlobalDispatch, New};

use crate::connections::resident;
use crate::idle_connections::IdleConnections;

struct Server;

impl GlobalDispatch<XdgWmBase, ()> for Server {
    fn bind(
        _: &mut Self,
        _: &DisplayHandle,
        _: &Client,
        resource: New<XdgWmBase>,
        (): &(),
        init: &mut DataInit<'_, Self>,
    ) {
        init.init(resource, ());
    }
}

impl Dispatch<XdgWmBase, ()> for Server {
    fn request(
        _: &mut Self,
        _: &Client,
        _: &XdgWmBase,
        _: xdg_wm_base::Request,
        (): &(),
        _: &DisplayHandle,
        _: &mut DataInit<'_, Self>,
    ) {
    }
}

/// Serves until end of file on standard input.
pub fn serve(socket: &Path) -> Result<()> {
    let mut display = Display::<Server>::new()?;
    let mut handle = display.handle();
    handle.create_global::<Server, XdgWmBase, ()>(5, ());
    let listener = UnixListener::bind(socket)?;
    listener.set_nonblocking(true)?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let highest = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, highest)?;
    println!("ready");
    std::io::stdout().flush()?;
    let input = std::io::stdin();
    loop {
        {
            let backend = display.backend().poll_fd();
            let mut fds = [listener.as_fd(), backend, input.as_fd()]
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            poll(&mut fds, None)?;
            if !fds[2].revents().is_empty() {
                return Ok(());
            }
        }
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            handle.insert_client(stream, Arc::new(()))?;
        }
        display.dispatch_clients(&mut Server)?;
        display.flush_clients()?;
    }
}

/// Returns the memory per connection in KiB.
pub fn memory(connections: usize) -> Result<f64> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("baseline");
    let mut server = Command::new(std::env::current_exe()?)
        .arg("--serve-library-baseline")
        .arg(&socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = [0; 6];
    server.stdout.as_mut().context("the server's output")?.read_exact(&mut ready)?;
    let before = resident(server.id())?;
    let clients = IdleConnections::new(&socket, connections)?;
    let after = resident(server.id())?;
    drop(clients);
    drop(server.stdin.take());
    server.wait()?;
    Ok((after - before) / connections as f64)
}
