#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Builds the lab's kernel (User Mode Linux with vkms) once and prints its path.
#
# Source: the newest linux-source-7.x among Debian's suites, fetched as one package from the archive
# that this machine's apt uses, with an apt configuration of its own: the system's suites and lists
# stay as they are. The result is cached under ${XDG_CACHE_HOME:-~/.cache}/geom-lab. The key is a
# hash of what determines the kernel: the options in config, the patches without their descriptions,
# and the functions `unpack` and `compile` without their comments.
# LAB_KERNEL=/path/to/linux uses that kernel and builds nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { echo "lab kernel: $*" >&2; }
fail() { say "$*"; exit 1; }

if [ -n "${LAB_KERNEL:-}" ]; then
  [ -x "$LAB_KERNEL" ] || fail "LAB_KERNEL=$LAB_KERNEL is not an executable file"
  echo "$LAB_KERNEL"
  exit 0
fi

# Unpacks the source package into $work/src and applies the patches.
unpack() {
  dpkg-deb --fsys-tarfile "$work"/linux-source-*.deb |
    tar -x -C "$work" --wildcards './usr/src/linux-source-*.tar.xz'
  mkdir "$work/src"
  # Other architectures and device drivers are most of the archive; UML reads none of them.
  tar -x -J -f "$work"/usr/src/linux-source-*.tar.xz -C "$work/src" --strip-components=1 \
    --exclude='linux-source-*/Documentation/devicetree' \
    --exclude='linux-source-*/drivers/gpu/drm/amd/include/asic_reg/*' \
    --exclude='linux-source-*/tools/testing'
  cd "$work/src"
  for patch in "$here"/*.patch; do
    patch -p1 --fuzz=0 --quiet <"$patch" >&2 || fail "$patch does not apply to $package"
  done
}

# Builds $work/src into $work/linux.
compile() {
  mk() { make ARCH=um KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab "$@"; }
  say "configuring"
  mk tinyconfig >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "tinyconfig failed"; }
  cat "$here/config" >>.config
  mk olddefconfig >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "olddefconfig failed"; }
  missing=0
  while IFS= read -r line; do
    case "$line" in
      CONFIG_*) grep -qxF "$line" .config || { say "$package ignores the option $line"; missing=1; } ;;
      "# CONFIG_"*" is not set") option=${line#\# }; option=${option%% *}
        ! grep -q "^$option=" .config || { say "$package ignores the option $line"; missing=1; } ;;
    esac
  done <"$here/config"
  [ "$missing" -eq 0 ] || fail "the options in $here/config do not fit $package"

  say "compiling $package with $(nproc) jobs"
  mk -j"$(nproc)" linux >"$work/log" 2>&1 ||
    { grep -m 20 -E 'error|Error' "$work/log" >&2; fail "the build failed"; }
  strip -o "$work/linux" linux
}

# Prints what the cache key is a hash of.
recipe() {
  grep -E '^(# )?CONFIG_' "$here/config"
  for patch in "$here"/*.patch; do sed -n '/^--- /,$p' "$patch"; done
  declare -f unpack compile
}

export LC_ALL=C
cache="${XDG_CACHE_HOME:-$HOME/.cache}/geom-lab"
out="$cache/linux-$(recipe | sha256sum | cut -c1-16)"
# Without the lock, which a build of another recipe may hold for minutes.
if [ -x "$out" ]; then echo "$out"; exit 0; fi
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -x "$out" ]; then echo "$out"; exit 0; fi

work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "building once, for some minutes; cached in $out"
apt="$work/apt"
# Fetches the newest source package of one archive into $work and sets $package.
fetch() {
  rm -rf "$apt"
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  for suite in trixie-backports forky sid; do
    echo "deb ${2:+[signed-by=$2] }$1 $suite main"
  done >"$apt/sources.list"
  cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$apt/lists";
Dir::Cache "$apt/cache";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
APT::Sandbox::User "";
CONF
  apt-get -qq -c "$apt/apt.conf" update >&2 || { say "cannot read the package lists of $1"; return 1; }
  package=$(apt-cache -c "$apt/apt.conf" search --names-only '^linux-source-7\.[0-9]+$' |
    awk '{print $1}' | sort -V | tail -n 1)
  [ -n "$package" ] || { say "no linux-source-7.x in trixie-backports, forky or sid of $1"; return 1; }
  say "fetching $package"
  (cd "$work" && apt-get -qq -c "$apt/apt.conf" download "$package") >&2 ||
    { say "cannot fetch $package from $1"; return 1; }
}
package=
while IFS=$'\t' read -r uri keyring; do
  if fetch "$uri" "$keyring" </dev/null; then break; else package=; fi
done < <("$here/../debian-archive.sh")
[ -n "$package" ] || fail "no Debian archive in this machine's apt sources has linux-source-7.x"

unpack
compile
mv "$work/linux" "$out"
say "built $("$out" --version) in $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "$out"
