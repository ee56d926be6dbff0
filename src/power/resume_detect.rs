//! A sleep that nobody told of: by a system without logind, or by `echo mem > /sys/power/state`.
//!
//! A timer of the wall clock that ends when that is set ends also when the system has slept (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET; the
//! kernel's timerfd_resume()).

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    clock_gettime, timerfd_create, timerfd_settime, ClockId, Itimerspec, TimerfdClockId, TimerfdFlags,
    TimerfdTimerFlags, Timespec,
};
use smithay::reexports::calloop::generic::Generic;
use smithay::reexports::calloop::{Interest, LoopHandle, Mode, PostAction};

use crate::compositor::State;

/// Between two looks at two clocks as much may pass.
pub const NOTHING: Duration = Duration::from_millis(100);

/// How long the system has slept since it was started: what one clock counts, and the other does not (clock_gettime(2)).
pub fn slept() -> Duration {
    let time = |clock| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
        Duration::new(tv_sec.try_into().unwrap_or(0), tv_nsec.try_into().unwrap_or(0))
    };
    // In this order the difference is never too great.
    let boottime = time(ClockId::Boottime);
    boottime.saturating_sub(time(ClockId::Monotonic))
}

fn arm(timer: &OwnedFd) -> io::Result<()> {
    // In the year 2255; the kernel counts nanoseconds until 2262.
    let never = Timespec { tv_sec: 9_000_000_000, tv_nsec: 0 };
    let value = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    timerfd_settime(timer, flags, &value)?;
    Ok(())
}

/// # Errors
/// Without descriptors to spare.
pub fn listen(handle: &LoopHandle<'static, State>) -> io::Result<()> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    arm(&timer)?;
    let source = Generic::new(timer, Interest::READ, Mode::Level);
    handle
        .insert_source(source, |_, timer, state| {
            let mut ends = [0; 8];
            let ended = rustix::io::read(&*timer, &mut ends[..]);
            arm(timer)?;
            if ended == Err(Errno::CANCELED) {
                state.clock_jumped();
            }
            Ok(PostAction::Continue)
        })
        .map_err(|error| io::Error::other(error.error))?;
    Ok(())
}
