#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs each fuzz target of fuzz/, or those of TARGETS, for SECONDS_EACH (60 by default). A failing
# input is written to fuzz/artifacts/<target>; once fixed, move it to fuzz/corpus/<target>, which
# `cargo test` replays.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${SECONDS_EACH:-60}
fuzz=$(tools/cargo_tool.sh fuzz)
for target in ${TARGETS:-$("$fuzz" list)}; do
  echo "fuzz: $target for $seconds s" >&2
  # New inputs stay out of the kept corpus. A sanitizer needs a nightly compiler; coverage guides
  # the fuzzer without one.
  found="target/fuzz/$target"
  mkdir -p "$found"
  "$fuzz" run --dev --sanitizer none --features fuzzer "$target" "$found" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048
done
