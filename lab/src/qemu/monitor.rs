//! The monitors of a virtio-gpu, which QEMU connects and disconnects on behalf of a display client:
//! each head has a VNC server on a Unix socket of its own.
//!
//! QMP has no command for it. QEMU passes a VNC client's SetDesktopSize (RFB, RFC 6143, and the
//! "ExtendedDesktopSize" extension of rfbproto) to the device as the size of the head's monitor;
//! the size 0x0 disconnects it (QEMU's virtio_gpu_ui_info()).

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};

/// Upper limit for each step of the handshake.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// Security type "None".
const NO_AUTHENTICATION: u8 = 1;
const SET_DESKTOP_SIZE: u8 = 251;

/// A client of one head's VNC server.
pub struct HeadMonitor(UnixStream);

impl HeadMonitor {
    /// Connects to a head's server.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        handshake(&stream).with_context(|| format!("VNC handshake at {}", socket.display()))?;
        Ok(Self(stream))
    }

    /// Connects a monitor of this size in pixels, or disconnects it if the size is 0x0.
    pub fn set_size(&self, width: u16, height: u16) -> Result<()> {
        let mut message = vec![SET_DESKTOP_SIZE, 0];
        message.extend(width.to_be_bytes());
        message.extend(height.to_be_bytes());
        // No screens, and padding: QEMU reads the size alone.
        message.extend([0, 0]);
        (&self.0).write_all(&message).context("set the size of a head's monitor")
    }
}

fn handshake(mut stream: &UnixStream) -> Result<()> {
    let mut version = [0; VERSION.len()];
    stream.read_exact(&mut version)?;
    ensure!(version.starts_with(b"RFB "), "not a VNC server");
    stream.write_all(VERSION)?;
    let mut count = [0];
    stream.read_exact(&mut count)?;
    let mut types = vec![0; count[0].into()];
    stream.read_exact(&mut types)?;
    ensure!(types.contains(&NO_AUTHENTICATION), "the server wants a password");
    stream.write_all(&[NO_AUTHENTICATION])?;
    let mut result = [0; 4];
    stream.read_exact(&mut result)?;
    ensure!(result == [0; 4], "the server refuses the connection");
    // ClientInit: other clients stay. ServerInit: size, pixel format, length of the name; the name.
    stream.write_all(&[1])?;
    let mut init = [0; 24];
    stream.read_exact(&mut init)?;
    let length = u32::from_be_bytes([init[20], init[21], init[22], init[23]]);
    std::io::copy(&mut stream.take(length.into()), &mut std::io::sink())?;
    Ok(())
}
