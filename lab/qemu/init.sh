#!/bin/busybox sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Process 1 of the initramfs of the lab's QEMU machines: mounts the host's root file system over 9p,
# read only, and executes the guest's process 1 from it, which geomlab.init= on the kernel's command
# line names.
#
# If a step fails, it exits. The kernel then panics, and QEMU ends because of panic=-1 and
# -no-reboot; the console has the reason.
b=/bin/busybox
fail() { echo "lab initramfs: $*" >/dev/console; exit 1; }

$b mount -t proc proc /proc || fail "cannot mount proc"
$b mount -t devtmpfs devtmpfs /dev || fail "cannot mount devtmpfs"
# In the order of their dependencies.
while read -r module; do
  $b insmod "/lib/$module" || fail "cannot load $module"
done </lib/order
# Without cache=loose, 9p has no shared mappings, which the dynamic loader and Mesa need.
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 root /mnt ||
  fail "cannot mount the host's root file system over 9p"
init=
for word in $($b cat /proc/cmdline); do
  case $word in geomlab.init=*) init=${word#*=} ;; esac
done
[ -x "/mnt$init" ] || fail "geomlab.init=$init is not a program of the host"
$b mount --move /dev /mnt/dev || fail "cannot move /dev"
$b umount /proc
exec $b switch_root /mnt "$init"
