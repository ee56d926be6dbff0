#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Creates a clean Debian root once and prints its path: a tar file, with packages that let apt
# install the dependencies of our packages without a network.
#
# It is cached under ${XDG_CACHE_HOME:-~/.cache}/geom-lab by the hash of the suite and the packages.
# mmdebstrap needs no root if user namespaces are allowed.
set -euo pipefail
suite=bookworm
# The dependencies of our packages at run time (conf/debian/control): downloaded, not installed.
downloads="libgbm1 libinput10 libpixman-1-0 libseat1 libudev1 libxkbcommon0 udev xkb-data systemd python3"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { echo "lab debian: $*" >&2; }
cache="${XDG_CACHE_HOME:-$HOME/.cache}/geom-lab"
out="$cache/debian-$(echo "$suite $downloads" | sha256sum | cut -c1-16).tar"
mkdir -p "$cache"
exec 9>"$cache/debian.lock"
flock 9
if [ -f "$out" ]; then echo "$out"; exit 0; fi

say "creating a Debian $suite root once; cached in $out"
log=$(mktemp)
trap 'rm -f "$log" "$out.part"' EXIT
while IFS=$'\t' read -r uri keyring; do
  if mmdebstrap --variant=apt --format=tar --skip=cleanup/apt --skip=check/empty \
    --customize-hook="chroot \"\$1\" apt-get -y -q --no-install-recommends --download-only install $downloads" \
    "$suite" "$out.part" "deb ${keyring:+[signed-by=$keyring] }$uri $suite main" >"$log" 2>&1 </dev/null; then
    mv "$out.part" "$out"
    echo "$out"
    exit 0
  fi
  tail -n 20 "$log" >&2
  say "mmdebstrap failed with $uri"
done < <("$here/debian-archive.sh")
say "no Debian archive in this machine's apt sources has $suite"
exit 1
