#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# `make run`: on a TTY of a machine with monitors, runs geom_compositor there. Elsewhere boots the
# lab with three monitors, runs real programs on them, unplugs and replugs monitors, and writes
# what happened to target/run/index.html.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

on_console() { case "$(tty 2>/dev/null)" in /dev/tty[0-9]*) return 0 ;; *) return 1 ;; esac; }
has_monitor() { grep -qsx connected /sys/class/drm/card*-*/status; }

if on_console && has_monitor; then
  tools/packages.sh build
  cargo build --release --package geom_compositor
  exec target/release/geom_compositor --backend=kms
fi
echo "run: no monitor can be driven from here; showing it in the lab"
tools/packages.sh lab
lab/kernel/build.sh >/dev/null
cargo build --release --workspace --exclude geom-fuzz
exec target/release/geom-lab-demo --compositor target/release/geom_compositor --out target/run
