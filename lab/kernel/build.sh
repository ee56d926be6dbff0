#!/usr/bin/env bash
# Builds the lab's kernel (User Mode Linux with vkms) once and prints its path.
#
# Source: the newest linux-source-7.x among Debian's suites, fetched as one package with an apt
# configuration of its own, so that the system's suites stay as they are. The result is cached
# under ${XDG_CACHE_HOME:-~/.cache}/geom-lab by the hash of the recipe (this folder).
# LAB_KERNEL=/path/to/linux uses that one and builds nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { echo "lab kernel: $*" >&2; }
fail() { say "$*"; exit 1; }

if [ -n "${LAB_KERNEL:-}" ]; then
  [ -x "$LAB_KERNEL" ] || fail "LAB_KERNEL=$LAB_KERNEL is not an executable file"
  echo "$LAB_KERNEL"
  exit 0
fi

hash=$(cd "$here" && sha256sum config build.sh ./*.patch | sha256sum | cut -c1-16)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/geom-lab"
out="$cache/linux-$hash"
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -x "$out" ]; then echo "$out"; exit 0; fi

work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

say "building once, some minutes; cached in $out"
apt="$work/apt"
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
for suite in trixie-backports forky sid; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $suite main"
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
apt-get -qq -c "$apt/apt.conf" update >&2 || fail "cannot read Debian's package lists"
package=$(apt-cache -c "$apt/apt.conf" search --names-only '^linux-source-7\.[0-9]+$' | awk '{print $1}' | sort -V | tail -n 1)
[ -n "$package" ] || fail "no linux-source-7.x in trixie-backports, forky or sid"
say "fetching $package"
(cd "$work" && apt-get -qq -c "$apt/apt.conf" download "$package") >&2 || fail "cannot fetch $package"
dpkg-deb --fsys-tarfile "$work"/linux-source-*.deb | tar -x -C "$work" --wildcards './usr/src/linux-source-*.tar.xz'
mkdir "$work/src"
# Other architectures and device drivers are most of the archive; UML reads none of them.
tar -x -J -f "$work"/usr/src/linux-source-*.tar.xz -C "$work/src" --strip-components=1 \
  --exclude='linux-source-*/Documentation/devicetree' \
  --exclude='linux-source-*/drivers/gpu/drm/amd/include/asic_reg/*' \
  --exclude='linux-source-*/tools/testing'
cd "$work/src"
for patch in "$here"/*.patch; do
  patch -p1 --fuzz=0 --quiet <"$patch" >&2 || fail "$patch does not fit $package"
done
mk() { make ARCH=um KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab "$@"; }

say "configuring"
mk tinyconfig >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "tinyconfig failed"; }
cat "$here/config" >>.config
mk olddefconfig >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; fail "olddefconfig failed"; }
missing=0
while IFS= read -r line; do
  case "$line" in
    CONFIG_*) grep -qxF "$line" .config || { say "option not taken by $package: $line"; missing=1; } ;;
    "# CONFIG_"*" is not set") option=${line#\# }; option=${option%% *}
      ! grep -q "^$option=" .config || { say "option not taken by $package: $line"; missing=1; } ;;
  esac
done <"$here/config"
[ "$missing" -eq 0 ] || fail "the configuration in $here/config does not fit $package"

say "compiling $package with $(nproc) jobs"
mk -j"$(nproc)" linux >"$work/log" 2>&1 || { grep -m 20 -E 'error|Error' "$work/log" >&2; fail "the build failed"; }
strip -o "$work/linux" linux
mv "$work/linux" "$out"
say "built $("$out" --version) in $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "$out"
