#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Prepares stock Debian kernels for the lab's QEMU machines, each once.
#
#   lab/qemu/prepare.sh            all suites
#   lab/qemu/prepare.sh SUITE      that one; prints its folder
#
# A folder has `vmlinuz`, `initramfs`, the kernel's version in `version`, its options in `config`,
# and in `lib/modules` the modules of virtual GPUs with their dependencies, for `modprobe -d`.
#
# The packages come from the archive that this machine's apt uses, with an apt configuration of its
# own: the system's suites and lists stay as they are. The result is cached under
# ${XDG_CACHE_HOME:-~/.cache}/geom-lab by a hash of the lists and functions below and of
# init.sh, without comments.
# tools/packages.sh qemu installs the programs that this script and the machines need.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { echo "lab qemu: $*" >&2; }
fail() { say "$*"; exit 1; }

# Kernels 6.1 and 6.12, and the newest at the time that it is fetched.
suites=(bookworm trixie sid)
# Loaded by the initramfs, to mount the host's root.
boot_modules=(virtio_pci 9pnet_virtio 9p)
# Loaded on request. A module that a suite does not have is left out: the option is built in or off.
modules=(configfs evdev uinput virtio_input virtio-gpu bochs qxl vgem simpledrm udmabuf)

# Unpacks the packages in $work/debs into $out.part.
unpack() {
  local root=$work/root deb tree version kernel config file module busybox
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
  tree=$(find "$root" -type d -path '*lib/modules/*' -prune | head -n 1)
  [ -n "$tree" ] || fail "the packages of $suite have no modules"
  version=${tree##*/}
  # In Debian's newer packages the modules are under usr/lib.
  if [ ! -e "$root/lib/modules/$version" ]; then
    mkdir -p "$root/lib/modules"
    mv "$tree" "$root/lib/modules/$version"
  fi
  kernel=$(find "$root" -type f -name 'vmlinuz*' | head -n 1)
  [ -n "$kernel" ] || fail "the packages of $suite have no kernel"
  depmod -b "$root" "$version" 2>"$work/depmod" || fail "depmod: $(cat "$work/depmod")"

  mkdir -p "$out.part/lib/modules/$version" "$work/ir"/{bin,dev,lib,mnt,proc}
  # Prints a module's files, those of its dependencies first.
  files() {
    modprobe -d "$root" -S "$version" --ignore-install --show-depends "$1" 2>/dev/null |
      awk '$1 == "insmod" { print $2 }'
  }
  for module in "${boot_modules[@]}"; do
    for file in $(files "$module"); do
      decompress "$file" >"$work/ir/lib/$(basename "${file%.ko*}").ko"
      echo "$(basename "${file%.ko*}").ko"
    done
  done | awk '!seen[$0]++' >"$work/ir/lib/order"
  for module in "${boot_modules[@]}" "${modules[@]}"; do
    for file in $(files "$module"); do
      cp --parents "lib/modules/${file#*"/lib/modules/"}" "$out.part/"
    done
  done
  cp "$root/lib/modules/$version"/modules.{builtin,builtin.modinfo,order} "$out.part/lib/modules/$version/"
  depmod -b "$out.part" "$version" 2>"$work/depmod" || fail "depmod: $(cat "$work/depmod")"
  busybox=$(find "$root" -type f -path '*bin/busybox' | head -n 1)
  [ -n "$busybox" ] || fail "the packages of $suite have no busybox"
  cp "$busybox" "$work/ir/bin/busybox"
  install -m 755 "$here/init.sh" "$work/ir/init"
  (cd "$work/ir" && find . | cpio --quiet -o -H newc | zstd -q -c) >"$out.part/initramfs"
  cp "$kernel" "$out.part/vmlinuz"
  config=$(find "$root" -type f \( -name "config-$version" -o -path "*/modules/$version/config" \) | head -n 1)
  [ -n "$config" ] || fail "the packages of $suite have no config"
  cp "$config" "$out.part/config"
  echo "$version" >"$out.part/version"
}

decompress() {
  case $1 in
    *.xz) xz -dc "$1" ;;
    *.zst) zstd -dqc "$1" ;;
    *) cat "$1" ;;
  esac
}

# Fetches the packages of the suite's default kernel from one archive into $work/debs.
fetch() {
  local apt=$work/apt version package
  rm -rf "$apt" "$work/debs"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$work/debs"
  echo "deb ${2:+[signed-by=$2] }$1 $suite main" >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Default-Release "";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Architecture "amd64";
APT::Sandbox::User "";
CONF
  apt-get -qq -c "$apt/apt.conf" update >&2 || { say "cannot read the package lists of $suite"; return 1; }
  version=$(apt-cache -c "$apt/apt.conf" depends linux-image-amd64 |
    awk '$1 == "Depends:" && sub(/^linux-image-/, "", $2) { print $2; exit }')
  [ -n "$version" ] || { say "$suite has no linux-image-amd64"; return 1; }
  say "fetching linux-image-$version of $suite"
  # Newer suites have the kernel and its modules in packages of their own. The host may have a
  # busybox that is not static, which excludes the other one.
  for package in linux-{image,binary,modules,base}-"$version" busybox-static; do
    [ -n "$(apt-cache -c "$apt/apt.conf" madison "$package")" ] || continue
    (cd "$work/debs" && apt-get -qq -c "$apt/apt.conf" download "$package") >&2 ||
      { say "cannot fetch $package"; return 1; }
  done
}

# Prints what the cache key is a hash of.
recipe() {
  echo "$suite ${boot_modules[*]} ${modules[*]}"
  declare -f unpack decompress fetch
  sed '/^ *#/d' "$here/init.sh"
}

prepare() {
  suite=$1
  out="$cache/qemu-$suite-$(recipe | sha256sum | cut -c1-16)"
  [ ! -f "$out/version" ] || return 0
  work=$(mktemp -d "$cache/qemu.XXXXXX")
  say "preparing the kernel of Debian $suite once; cached in $out"
  while IFS=$'\t' read -r uri keyring; do
    if fetch "$uri" "$keyring" </dev/null; then
      rm -rf "$out.part"
      (cd "$work" && mkdir root && cd root && unpack)
      mv "$out.part" "$out"
      rm -rf "$work"
      work=
      return 0
    fi
  done < <("$here/../debian-archive.sh")
  fail "no Debian archive in this machine's apt sources has a kernel of $suite"
}

export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
for program in qemu-system-x86_64 Xvfb cpio zstd xz depmod modprobe; do
  command -v "$program" >/dev/null || fail "no $program; run: tools/packages.sh qemu"
done
cache="${XDG_CACHE_HOME:-$HOME/.cache}/geom-lab"
mkdir -p "$cache"
exec 9>"$cache/qemu.lock"
flock 9
work='' out=''
trap '[ -z "$work" ] || rm -rf "$work" "$out.part"' EXIT
case $# in
  0) for each in "${suites[@]}"; do prepare "$each"; done ;;
  1)
    [[ " ${suites[*]} " == *" $1 "* ]] || fail "no suite $1; there are: ${suites[*]}"
    prepare "$1"
    echo "$out"
    ;;
  *) fail "at most one suite" ;;
esac
