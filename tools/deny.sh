#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Checks all crates against deny.toml with cargo-deny: licenses, duplicate versions, sources, and
# advisories of RustSec. The advisories come from the network, at most once a day; without it, those
# of the last download count, or those of a clone of https://github.com/rustsec/advisory-db:
#
#   ADVISORY_DB=CLONE tools/deny.sh
#
# Without any, it says so, and the other checks count.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

deny=$(tools/cargo_tool.sh deny)
# cargo-deny's name for a clone of the address above.
clone=target/advisory-dbs/advisory-db-3157b0e258782691
fresh=target/advisory-dbs/.fetched
mkdir -p target/advisory-dbs
if [[ -n ${ADVISORY_DB:-} ]]; then
  rm -rf "$clone"
  git clone --quiet "$ADVISORY_DB" "$clone"
elif [[ -z $(find "$fresh" -mtime -1 2>/dev/null) ]]; then
  # Offline, git takes long to give up.
  timeout 60 "$deny" --log-level off fetch db >&2 2>/dev/null || true
  touch "$fresh"
fi
checks=(licenses bans sources)
if git -C "$clone" rev-parse --quiet --verify HEAD >/dev/null 2>&1; then
  checks+=(advisories)
  echo "deny: advisories of $(git -C "$clone" log -1 --format=%cs)" >&2
else
  echo "deny: advisories are NOT checked: no database can be fetched. See docs/security.md, Dependencies" >&2
fi
# `cargo metadata` needs the sources of all crates, those that this machine does not build included.
"${CARGO:-cargo}" fetch --quiet --locked
"$deny" --offline --log-level error check --hide-inclusion-graph "${checks[@]}" 2>&1 | { grep -v '^[a-z, ]* ok$' || true; }
