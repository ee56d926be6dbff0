#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds the lab's kernel (User Mode Linux with vkms) once and prints its path. ../linux-source.sh
# has the source, and the cache.
# LAB_KERNEL=/path/to/linux uses that kernel and builds nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
arch=um name=linux
. "$here/../linux-source.sh"

if [ -n "${LAB_KERNEL:-}" ]; then
  [ -x "$LAB_KERNEL" ] || fail "LAB_KERNEL=$LAB_KERNEL is not an executable file"
  echo "$LAB_KERNEL"
  exit 0
fi

compile() {
  build linux
  strip -o "$work/built" linux
}

build_once
