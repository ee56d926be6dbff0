//! Detects system sleep without logind, for example by `echo mem > /sys/power/state`.
//!
//! A timer of the wall clock that is cancelled when that clock is set is cancelled also when the
//! system resumes (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET; the kernel's timerfd_resume()).

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

/// Returns how long the system has slept since boot: CLOCK_BOOTTIME counts sleep, CLOCK_MONOTONIC
/// does not (clock_gettime(2)).
pub fn slept() -> Duration {
    let time = |clock| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
        Duration::new(tv_sec.try_into().unwrap_or(0), tv_nsec.try_into().unwrap_or(0))
    };
    // In this order the difference is never too large.
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

/// Calls `clock_changed` whenever the wall clock was set or the system resumed.
///
/// # Errors
/// If no file descriptor is left.
pub fn listen<D: 'static>(handle: &LoopHandle<'static, D>, clock_changed: fn(&mut D)) -> io::Result<()> {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    arm(&timer)?;
    let source = Generic::new(timer, Interest::READ, Mode::Level);
    handle
        .insert_source(source, move |_, timer, data| {
            let mut expirations = [0; 8];
            let read = rustix::io::read(&*timer, &mut expirations[..]);
            arm(timer)?;
            if read == Err(Errno::CANCELED) {
                clock_changed(data);
            }
            Ok(PostAction::Continue)
        })
        .map_err(|error| io::Error::other(error.error))?;
    Ok(())
}
