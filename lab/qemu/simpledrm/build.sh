#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds a kernel with simpledrm for the lab's QEMU machines once and prints its folder, which has
# what prepare.sh describes, but no initramfs: the kernel itself mounts the host's root over 9p.
#
# Debian's kernels have no simpledrm: CONFIG_DRM_SIMPLEDRM and CONFIG_SYSFB_SIMPLEFB are off in
# bookworm, trixie and sid. ../../linux-source.sh has the source, and the cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
arch=x86_64 name=qemu-simpledrm
. "$here/../../linux-source.sh"

compile() {
  build bzImage modules
  mkdir "$work/built"
  mk INSTALL_MOD_PATH="$work/built" INSTALL_MOD_STRIP=1 DEPMOD=true modules_install ||
    fail_with_log "modules_install failed"
  make -s ARCH="$arch" kernelrelease >"$work/built/version"
  rm -f "$work/built/lib/modules/$(cat "$work/built/version")"/{build,source}
  /sbin/depmod -b "$work/built" "$(cat "$work/built/version")"
  cp arch/x86/boot/bzImage "$work/built/vmlinuz"
  cp .config "$work/built/config"
}

build_once
