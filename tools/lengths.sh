#!/usr/bin/env bash
# Fails where a source file has more than 600 lines.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
most=600
long=$(git ls-files -co --exclude-standard '*.rs' '*.sh' '*.py' '*.c' '*.h' '*.hpp' | while read -r file; do
  [ -f "$file" ] || continue
  lines=$(wc -l <"$file")
  [ "$lines" -le "$most" ] || echo "$file: $lines lines, at most $most; split it by concern"
done)
[ -z "$long" ] || { echo "$long" >&2; exit 1; }
