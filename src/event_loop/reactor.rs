//! The reactor: one epoll for everything that the service waits for.
//!
//! It has the sources of every frame: libwayland's epoll, page flips and the timer. calloop's loop
//! is one more descriptor in it, with everything rarer: the seat, udev, input devices, control
//! clients, signals. However many clients send, there is one source for them, so that none of the
//! others waits longer than one dispatch. calloop's poller makes four system calls in addition to
//! the wait per iteration; an iteration that bypasses it makes one (docs/decisions/0006).

use std::cell::Cell;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{epoll, Timespec};
use rustix::time::{timerfd_create, timerfd_settime, Itimerspec};
use rustix::time::{TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

/// A source of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The Wayland library's own epoll: a client has sent something, or can take more.
    Wayland,
    /// A GPU, by its device number (stat(2), st_rdev).
    Gpu(u64),
    /// A listening socket, by its index.
    Listener(u64),
    /// The earliest deadline.
    Timers,
    /// calloop's loop.
    Calloop,
}

/// The bits of a packed source below its kind.
const NUMBER_BITS: u32 = 61;

impl Source {
    /// Packs the source for the kernel: its kind in the three highest bits, its number in the rest.
    /// Device numbers have 32 bits.
    fn pack(self) -> u64 {
        let (kind, number) = match self {
            Self::Wayland => (0, 0),
            Self::Gpu(number) => (1, number),
            Self::Listener(number) => (2, number),
            Self::Timers => (3, 0),
            Self::Calloop => (4, 0),
        };
        kind << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1)
    }

    fn unpack(data: u64) -> Self {
        let number = data & ((1 << NUMBER_BITS) - 1);
        match data >> NUMBER_BITS {
            0 => Self::Wayland,
            1 => Self::Gpu(number),
            2 => Self::Listener(number),
            3 => Self::Timers,
            _ => Self::Calloop,
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Reactor {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// The time that the timer is set to.
    armed: Cell<Option<Duration>>,
}

/// Sources per iteration: messages to clients are flushed at its end.
const MAX_PER_DISPATCH: usize = 64;

impl Reactor {
    /// Creates the epoll and its timer.
    ///
    /// # Errors
    /// If no file descriptor is left.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let reactor = Self { epoll, timer, armed: Cell::new(None) };
        reactor.add(&reactor.timer, Source::Timers)?;
        Ok(reactor)
    }

    /// Watches a descriptor for reading. The kernel removes it when its last copy is closed
    /// (epoll(7)).
    ///
    /// # Errors
    /// If there is no memory, or the descriptor cannot be polled.
    pub fn add(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        let data = epoll::EventData::new_u64(source.pack());
        Ok(epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)?)
    }

    /// Stops watching a descriptor.
    ///
    /// # Errors
    /// If it is not watched.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Waits until a source is ready, until the time `next` of the monotonic clock, or for
    /// `timeout`.
    ///
    /// # Errors
    /// If the kernel refuses to arm the timer or to wait.
    pub fn wait(
        &self,
        next: Option<Duration>,
        timeout: Option<Duration>,
        ready: &mut Vec<Source>,
    ) -> io::Result<()> {
        self.arm(next)?;
        let timeout = timeout.map(timespec);
        let mut events = [const { MaybeUninit::uninit() }; MAX_PER_DISPATCH];
        match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((events, _)) => {
                ready.extend(events.iter().map(|event| Source::unpack(event.data.u64())));
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets the timer if it is set to another time: most iterations change nothing.
    fn arm(&self, next: Option<Duration>) -> io::Result<()> {
        if self.armed.get() == next {
            return Ok(());
        }
        // Zero would disarm it; one nanosecond is in the past too.
        let value = next.map_or(Duration::ZERO, |time| time.max(Duration::from_nanos(1)));
        let value = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(value) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value)?;
        self.armed.set(next);
        Ok(())
    }

    /// The timer ended: setting it again ends its readiness (timerfd_create(2)).
    pub fn timer_ended(&self) {
        self.armed.set(Some(Duration::MAX));
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use smithay::utils::{Clock, Monotonic};

    use super::*;

    fn now() -> Duration {
        Clock::<Monotonic>::new().now().into()
    }

    #[test]
    fn sources_survive_packing() {
        for source in [
            Source::Wayland,
            Source::Gpu(1 << 31),
            Source::Gpu(0xe2_00),
            Source::Listener(0),
            Source::Timers,
            Source::Calloop,
        ] {
            assert_eq!(Source::unpack(source.pack()), source);
        }
    }

    #[test]
    fn ready_source_is_returned_until_it_is_read() -> io::Result<()> {
        let reactor = Reactor::new()?;
        let (mut ours, theirs) = UnixStream::pair()?;
        reactor.add(&theirs, Source::Gpu(7))?;
        let mut ready = Vec::new();
        reactor.wait(None, Some(Duration::ZERO), &mut ready)?;
        assert_eq!(ready, []);
        ours.write_all(b"x")?;
        for _ in 0..2 {
            reactor.wait(None, Some(Duration::from_secs(10)), &mut ready)?;
        }
        assert_eq!(ready, [Source::Gpu(7); 2]);
        reactor.remove(&theirs)?;
        ready.clear();
        reactor.wait(None, Some(Duration::ZERO), &mut ready)?;
        assert_eq!(ready, []);
        Ok(())
    }

    #[test]
    fn timer_ends_once_and_not_early() -> io::Result<()> {
        let reactor = Reactor::new()?;
        let mut ready = Vec::new();
        let at = now() + Duration::from_millis(20);
        reactor.wait(Some(at), Some(Duration::from_secs(10)), &mut ready)?;
        assert_eq!(ready, [Source::Timers]);
        assert!(now() >= at);
        reactor.timer_ended();
        ready.clear();
        reactor.wait(None, Some(Duration::from_millis(30)), &mut ready)?;
        assert_eq!(ready, [], "a timer that ended ends again");
        // A time in the past ends at once, the epoch of the clock too.
        for past in [at, Duration::ZERO] {
            reactor.wait(Some(past), Some(Duration::from_secs(10)), &mut ready)?;
            reactor.timer_ended();
        }
        assert_eq!(ready, [Source::Timers; 2]);
        Ok(())
    }
}
