#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs the in-process tests, the fuzz targets' corpora and SECONDS_EACH (60 by default) of random
# Wayland requests with AddressSanitizer: it finds wrong uses of memory in unsafe code here, in
# crates, and in what C libraries do with our memory. C libraries themselves are not instrumented.
#
# The sanitizer is part of the stable compiler, behind a flag that only RUSTC_BOOTSTRAP=1 allows.
# The build in target/asan is separate, and takes 3 GB; KEEP=1 keeps it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address"
# Leaks: what lives until the process ends is none. The service's memory is measured by `make soak`.
export ASAN_OPTIONS="detect_leaks=0:abort_on_error=1:${ASAN_OPTIONS:-}"
export WAYLAND_SECONDS=${SECONDS_EACH:-60} WAYLAND_COVERAGE=1
status=0
"${CARGO:-cargo}" test --target "$host" --target-dir target/asan --package geom_compositor --package geom-fuzz \
  --lib --no-fail-fast || status=$?
[[ -n ${KEEP:-} ]] || rm -rf target/asan
exit "$status"
