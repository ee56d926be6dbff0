#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Builds the Debian packages geom-compositor, geom-compositor-dev and python3-geom-compositor from
# what `make build` built:
#   FROM=target/release LIBRARY=target/library OUT=target/deb tools/deb.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
SOURCE=$PWD
FROM=$(realpath "${FROM:-target/release}") LIBRARY=$(realpath "${LIBRARY:-target/library}")
OUT=$(realpath -m "${OUT:-target/deb}")
export SOURCE FROM LIBRARY
version=$("$FROM/geom_compositor" --version | awk '{print $2}')
rm -rf "$OUT"
mkdir -p "$OUT/build"
cp -r conf/debian "$OUT/build/debian"
# The commit's time, so that the same sources make the same packages.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH
cat >"$OUT/build/debian/changelog" <<LOG
geom-compositor ($version) unstable; urgency=medium

  * See CHANGELOG.md.

 -- Geometry OS <compositor@geometry-os.invalid>  $(date -R -d "@$SOURCE_DATE_EPOCH")
LOG
log="$OUT/build.log"
(cd "$OUT/build" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps) >"$log" 2>&1 || {
  tail -n 40 "$log" >&2
  echo "deb: dpkg-buildpackage failed; its output is in $log" >&2
  exit 1
}
rm -rf "$OUT/build" "$OUT"/*.changes "$OUT"/*.buildinfo
printf 'deb: %s\n' "$OUT"/*.deb
