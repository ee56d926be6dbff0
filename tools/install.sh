#!/usr/bin/env bash
# Lays the product out, or takes it away again:
#   tools/install.sh install|uninstall [DESTDIR=/] [PREFIX=/usr/local] [FROM=target/release] [LIBRARY=target/library]
#                    [GEOMETRY=$PREFIX/share/GeometryOS]
# What users have written, in system/conf and userdata, is never overwritten and never removed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr/local} FROM=${FROM:-target/release} LIBRARY=${LIBRARY:-target/library}
geometry=${GEOMETRY:-$PREFIX/share/GeometryOS}
lib="$geometry/system/lib/compositor" conf="$geometry/system/conf" userdata="$geometry/userdata"
say() { echo "install: $*"; }
fail() { echo "install: $*" >&2; exit 1; }

# Each file that is ours alone: mode, where it goes, where it comes from.
files() {
  cat <<LIST
755 $lib/geom_compositor $FROM/geom_compositor
644 $lib/libgeom_client.so.0 $LIBRARY/libgeom_client.so
644 $lib/libgeom_client.a $LIBRARY/libgeom_client.a
644 $PREFIX/include/geom_compositor.h crates/geom-client/include/geom_compositor.h
644 $PREFIX/include/geom_compositor.hpp bindings/cpp/geom_compositor.hpp
644 $conf/geom_compositor.toml.default conf/geom_compositor.toml
644 $PREFIX/lib/udev/rules.d/71-geom-compositor.rules udev-rules/71-geom-compositor.rules
LIST
  for wheel in ${WHEELS-target/wheels/*.whl}; do
    [ -e "$wheel" ] && echo "644 $lib/$(basename "$wheel") $wheel"
  done
  # With paths of this installation in them.
  cat <<LIST
644 $PREFIX/lib/systemd/system/geom-compositor.service @conf/systemd/geom-compositor.service
644 $PREFIX/lib/systemd/system/geom-kiosk@.service @conf/systemd/geom-kiosk@.service
644 $PREFIX/lib/systemd/system/geom-splash-leaves.service conf/systemd/geom-splash-leaves.service
644 $PREFIX/lib/systemd/system/geom-splash-ends.service conf/systemd/geom-splash-ends.service
644 $PREFIX/lib/systemd/system/geom-compositor.socket conf/systemd/geom-compositor.socket
644 $PREFIX/lib/systemd/user/geom-compositor.socket conf/systemd/geom-compositor-user.socket
644 $PREFIX/lib/systemd/user/geom-compositor.service @conf/systemd/geom-compositor-user.service
644 $PREFIX/lib/sysusers.d/geom-compositor.conf @conf/systemd/sysusers.conf
644 $PREFIX/lib/tmpfiles.d/geom-compositor.conf @conf/systemd/tmpfiles.conf
644 $PREFIX/share/wayland-sessions/geom-compositor.desktop @conf/sessions/geom-compositor.desktop
644 $PREFIX/lib/pkgconfig/geom_compositor.pc @crates/geom-client/geom_compositor.pc.in
644 /etc/pam.d/geom-compositor @conf/pam/geom-compositor
LIST
}

links() {
  cat <<LIST
$PREFIX/bin/geom_compositor $lib/geom_compositor
$lib/libgeom_client.so libgeom_client.so.0
LIST
}

completions="$PREFIX/share/bash-completion/completions/geom_compositor $PREFIX/share/zsh/site-functions/_geom_compositor $PREFIX/share/fish/vendor_completions.d/geom_compositor.fish"

install_all() {
  [ -x "$FROM/geom_compositor" ] || fail "no $FROM/geom_compositor; build it: make build"
  version=$("$FROM/geom_compositor" --version | awk '{print $2}')
  while read -r mode to from; do
    case $from in
      @*)
        filled=$(mktemp)
        sed -e "s|@LIBDIR@|$lib|g; s|@USERDATA@|$userdata|g; s|@PREFIX@|$PREFIX|g; s|@INCLUDEDIR@|$PREFIX/include|g; s|@VERSION@|$version|g" "${from#@}" >"$filled"
        install -D -m "$mode" "$filled" "$DESTDIR$to"
        rm -f "$filled"
        ;;
      *)
        [ -e "$from" ] || fail "no $from; build it: make build"
        install -D -m "$mode" "$from" "$DESTDIR$to"
        ;;
    esac
  done < <(files)
  while read -r link to; do
    mkdir -p "$DESTDIR$(dirname "$link")"
    ln -sfn "$to" "$DESTDIR$link"
  done < <(links)
  # A configuration that a person has changed stays; what the new version says differently lies beside it.
  if [ ! -e "$DESTDIR$conf/geom_compositor.toml" ]; then
    install -m 644 conf/geom_compositor.toml "$DESTDIR$conf/geom_compositor.toml"
  elif ! cmp -s conf/geom_compositor.toml "$DESTDIR$conf/geom_compositor.toml"; then
    say "your $conf/geom_compositor.toml stays; this version's defaults differ:"
    diff -u "$DESTDIR$conf/geom_compositor.toml" conf/geom_compositor.toml | sed 's/^/  /' || true
  fi
  install -d -m 755 "$DESTDIR$userdata"
  mkdir -p "$DESTDIR$PREFIX/share/man/man1"
  "$FROM/geom_compositor" man "$DESTDIR$PREFIX/share/man/man1"
  read -r bash zsh fish <<<"$completions"
  for pair in "bash $bash" "zsh $zsh" "fish $fish"; do
    read -r shell to <<<"$pair"
    mkdir -p "$DESTDIR$(dirname "$to")"
    "$FROM/geom_compositor" completions "$shell" >"$DESTDIR$to"
  done
  say "done: $DESTDIR$lib"
  [ -n "$DESTDIR" ] || cat <<NEXT
install: what is left to do, as root:
  systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload && udevadm control --reload
  systemctl enable --now geom-compositor.service
NEXT
}

uninstall_all() {
  while read -r _ to _; do rm -f "$DESTDIR$to"; done < <(files)
  while read -r link _; do rm -f "$DESTDIR$link"; done < <(links)
  rm -f "$DESTDIR$lib"/*.whl "$DESTDIR$PREFIX"/share/man/man1/geom_compositor*.1
  for to in $completions; do rm -f "$DESTDIR$to"; done
  # Unchanged, it is ours.
  cmp -s conf/geom_compositor.toml "$DESTDIR$conf/geom_compositor.toml" && rm -f "$DESTDIR$conf/geom_compositor.toml"
  # Folders go where nothing is left in them.
  for folder in "$lib" "$geometry/system/lib" "$conf" "$geometry/system" "$userdata" "$geometry"; do
    rmdir "$DESTDIR$folder" 2>/dev/null || true
  done
  [ ! -d "$DESTDIR$geometry" ] || say "what users have written stays in $DESTDIR$geometry"
}

case "${1:-}" in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) echo "usage: [DESTDIR=] [PREFIX=] $0 install|uninstall" >&2; exit 2 ;;
esac
