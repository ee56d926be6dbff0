#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Fails on retired words (tools/terms.txt) and on comments and Markdown prose over 100 columns.
#   tools/terms.sh [PATH...]      all of the tree by default
# Prints FILE:LINE: WORD: HINT. Legitimate uses, each with its reason, are in
# tools/terms-allowed.txt; an entry there that allows nothing is an error too, if the whole tree
# is checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
whole=0
if [ $# -eq 0 ]; then
  whole=1
  set -- src crates lab hwtests docs bindings conf examples fuzz tools udev-rules .ci console \
    Makefile build.rs Cargo.toml rustfmt.toml clippy.toml '*.md'
fi
# Data, generated text and these lists themselves are left out.
git ls-files -co --exclude-standard -- "$@" ':!*.png' ':!*.jsonl' ':!*.proptest-regressions' \
  ':!fuzz/corpus' ':!tools/terms.txt' ':!tools/terms-allowed.txt' ':!LICENSE-*' ':!*Cargo.lock' \
  ':!lab/kernel/config' | sort -u | WHOLE=$whole perl tools/terms.pl
