#!/usr/bin/env bash
# Makes a clean Debian root once and prints its path: a tar file, in which apt finds what our packages depend on without a network.
#
# Cached under ${XDG_CACHE_HOME:-~/.cache}/geom-lab by the hash of this file. mmdebstrap needs no root where user namespaces are allowed.
set -euo pipefail
suite=bookworm
# What a program needs at run time (conf/debian/control), kept as packages and not installed.
kept="libgbm1 libinput10 libpixman-1-0 libseat1 libudev1 libxkbcommon0 udev xkb-data systemd python3"

say() { echo "lab debian: $*" >&2; }
cache="${XDG_CACHE_HOME:-$HOME/.cache}/geom-lab"
out="$cache/debian-$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-16).tar"
mkdir -p "$cache"
exec 9>"$cache/debian.lock"
flock 9
if [ -f "$out" ]; then echo "$out"; exit 0; fi

say "making a Debian $suite root once; cached in $out"
log=$(mktemp)
trap 'rm -f "$log" "$out.part"' EXIT
mmdebstrap --variant=apt --format=tar --skip=cleanup/apt --skip=check/empty \
  --customize-hook="chroot \"\$1\" apt-get -y -q --no-install-recommends --download-only install $kept" \
  "$suite" "$out.part" >"$log" 2>&1 || { tail -n 20 "$log" >&2; say "mmdebstrap failed"; exit 1; }
mv "$out.part" "$out"
echo "$out"
