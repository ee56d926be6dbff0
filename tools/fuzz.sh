#!/usr/bin/env bash
# Lets libFuzzer look for bytes that break what fuzz/ says must hold: each target for SECONDS (60 by default). What it finds
# lies in fuzz/artifacts/<target>; mended, it goes into fuzz/corpus/<target>.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${SECONDS_EACH:-60}
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "fuzz: installing cargo-fuzz, once" >&2
  cargo install --quiet --locked cargo-fuzz
fi
for target in $(cargo fuzz list); do
  echo "fuzz: $target for $seconds s" >&2
  # New inputs stay out of the corpus that is kept; without a sanitizer, which needs a nightly compiler, coverage still guides.
  found="target/fuzz/$target"
  mkdir -p "$found"
  cargo fuzz run --dev --sanitizer none --features fuzzer "$target" "$found" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048
done
