# SPDX-License-Identifier: MIT OR Apache-2.0
#
# What the kernels that the lab builds have in common; sourced by kernel/build.sh and
# qemu/simpledrm/build.sh.
#
# Source: the newest linux-source-7.x among Debian's suites, fetched as one package from the archive
# that this machine's apt uses, with an apt configuration of its own: the system's suites and lists
# stay as they are.
#
# The caller sets `here`, the folder with `config` and, if there are any, *.patch; `arch`, make's
# ARCH; `name`, for messages and for the cache. It defines `compile`, which builds the configured
# $work/src into $work/built, and calls `build_once`.
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/geom-lab"
export LC_ALL=C

say() { echo "lab kernel $name: $*" >&2; }
fail() { say "$*"; exit 1; }

# Fetches the newest source package of one archive into $work and sets $package.
fetch() {
  local apt=$work/apt
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

# Fetches the source package from the first archive that has it.
fetch_from_any() {
  package=
  while IFS=$'\t' read -r uri keyring; do
    if fetch "$uri" "$keyring" </dev/null; then return; else package=; fi
  done < <("$lab/debian-archive.sh")
  fail "no Debian archive in this machine's apt sources has linux-source-7.x"
}

# Unpacks the source package into $work/src and applies the patches.
unpack() {
  dpkg-deb --fsys-tarfile "$work"/linux-source-*.deb |
    tar -x -C "$work" --wildcards './usr/src/linux-source-*.tar.xz'
  mkdir "$work/src"
  # Other architectures and device drivers are most of the archive; no kernel here reads them.
  tar -x -J -f "$work"/usr/src/linux-source-*.tar.xz -C "$work/src" --strip-components=1 \
    --exclude='linux-source-*/Documentation/devicetree' \
    --exclude='linux-source-*/drivers/gpu/drm/amd/include/asic_reg/*' \
    --exclude='linux-source-*/tools/testing'
  cd "$work/src"
  for patch in "$here"/*.patch; do
    [ -e "$patch" ] || continue
    patch -p1 --fuzz=0 --quiet <"$patch" >&2 || fail "$patch does not apply to $package"
  done
}

mk() {
  make ARCH="$arch" KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab "$@" \
    >"$work/log" 2>&1
}

# Configures $work/src: tinyconfig and the options in config, each of which has to take effect.
configure() {
  local missing=0 line option
  say "configuring"
  mk tinyconfig || fail_with_log "tinyconfig failed"
  cat "$here/config" >>.config
  mk olddefconfig || fail_with_log "olddefconfig failed"
  while IFS= read -r line; do
    case "$line" in
      CONFIG_*) grep -qxF "$line" .config || { say "$package ignores the option $line"; missing=1; } ;;
      "# CONFIG_"*" is not set") option=${line#\# }; option=${option%% *}
        ! grep -q "^$option=" .config || { say "$package ignores the option $line"; missing=1; } ;;
    esac
  done <"$here/config"
  [ "$missing" -eq 0 ] || fail "the options in $here/config do not fit $package"
}

# Runs make for these targets.
build() {
  say "compiling $package with $(nproc) jobs"
  mk -j"$(nproc)" "$@" || fail_with_log "the build failed"
}

# Ends with a message, the errors in make's output, and its end.
fail_with_log() {
  grep -m 20 -E ' error: | Error |No rule' "$work/log" >&2 || true
  tail -n 20 "$work/log" >&2
  fail "$1"
}

# Prints what the cache key is a hash of: what determines the kernel. Descriptions of patches and
# comments of functions are not in it.
recipe() {
  echo "$arch"
  grep -E '^(# )?CONFIG_' "$here/config"
  for patch in "$here"/*.patch; do [ ! -e "$patch" ] || sed -n '/^--- /,$p' "$patch"; done
  declare -f unpack mk configure build compile
}

# Builds the kernel if the cache, ${XDG_CACHE_HOME:-~/.cache}/geom-lab, does not have it, and prints
# the path of $work/built there.
build_once() {
  local out
  out="$cache/$name-$(recipe | sha256sum | cut -c1-16)"
  # Without the lock, which a build holds for minutes.
  if [ -e "$out" ]; then echo "$out"; return; fi
  mkdir -p "$cache"
  exec 9>"$cache/$name.lock"
  flock 9
  if [ -e "$out" ]; then echo "$out"; return; fi
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  say "building once, for some minutes; cached in $out"
  fetch_from_any
  unpack
  configure
  compile
  mv "$work/built" "$out"
  say "built from $package in $((SECONDS / 60)) min $((SECONDS % 60)) s"
  echo "$out"
}
