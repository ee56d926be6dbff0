#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Fails if a source file has more than 600 lines.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
limit=600
long=$(git ls-files -co --exclude-standard '*.rs' '*.sh' '*.py' '*.c' '*.h' '*.hpp' '*.pl' tools/imports | while read -r file; do
  [ -f "$file" ] || continue
  lines=$(wc -l <"$file")
  [ "$lines" -le "$limit" ] || echo "$file: $lines lines, at most $limit; split it by concern"
done)
[ -z "$long" ] || { echo "$long" >&2; exit 1; }
