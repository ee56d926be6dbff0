#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Installs or uninstalls what `make build` built:
#   tools/install.sh install|uninstall
# Environment, with defaults:
#   DESTDIR=                               installs below another root, for packages
#   PREFIX=/usr/local
#   GEOMETRY=$PREFIX/share/GeometryOS
#   DOC=$PREFIX/share/doc/geom_compositor  licenses and third-party notices
#   FROM=target/release                    the program
#   LIBRARY=target/library                 the client library
#   NOTICES=target/THIRD-PARTY-NOTICES     generated here if Cargo.lock is newer
# Files that users have written in system/conf and userdata are never overwritten or removed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr/local} FROM=${FROM:-target/release} LIBRARY=${LIBRARY:-target/library}
geometry=${GEOMETRY:-$PREFIX/share/GeometryOS}
doc=${DOC:-$PREFIX/share/doc/geom_compositor}
NOTICES=${NOTICES:-target/THIRD-PARTY-NOTICES}
lib="$geometry/system/lib/compositor" conf="$geometry/system/conf" userdata="$geometry/userdata"
# A path as the replacement of sed's s|||.
quoted() { printf '%s' "$1" | sed 's/[&|\\]/\\&/g'; }
say() { echo "install: $*"; }
fail() { echo "install: $*" >&2; exit 1; }

# Each file that only this package writes: mode, destination, source.
files() {
  cat <<LIST
755 $lib/geom_compositor $FROM/geom_compositor
644 $lib/libgeom_client.so.0 $LIBRARY/libgeom_client.so
644 $lib/libgeom_client.a $LIBRARY/libgeom_client.a
644 $PREFIX/include/geom_compositor.h crates/geom-client/include/geom_compositor.h
644 $PREFIX/include/geom_compositor.hpp bindings/cpp/geom_compositor.hpp
644 $conf/geom_compositor.toml.default conf/geom_compositor.toml
644 $PREFIX/lib/udev/rules.d/71-geom-compositor.rules udev-rules/71-geom-compositor.rules
644 $doc/LICENSE-MIT LICENSE-MIT
644 $doc/LICENSE-APACHE LICENSE-APACHE
644 $doc/THIRD-PARTY-NOTICES $NOTICES
LIST
  for wheel in ${WHEELS-target/wheels/*.whl}; do
    [ -e "$wheel" ] && echo "644 $lib/$(basename "$wheel") $wheel"
  done
  # "@": a template, filled in with the paths of this installation.
  cat <<LIST
644 $PREFIX/lib/systemd/system/geom-compositor.service @conf/systemd/geom-compositor.service
644 $PREFIX/lib/systemd/system/geom-compositor-memory.service conf/systemd/geom-compositor-memory.service
644 $PREFIX/lib/systemd/system/geom-kiosk@.service @conf/systemd/geom-kiosk@.service
644 $PREFIX/lib/systemd/system/geom-kiosk.socket conf/systemd/geom-kiosk.socket
644 $PREFIX/lib/systemd/system/geom-kiosk-kill.service @conf/systemd/geom-kiosk-kill.service
644 $PREFIX/lib/systemd/system/geom-kiosk-kill.socket conf/systemd/geom-kiosk-kill.socket
644 $PREFIX/lib/systemd/system/geom-plymouth-deactivate.service conf/systemd/geom-plymouth-deactivate.service
644 $PREFIX/lib/systemd/system/geom-plymouth-quit.service conf/systemd/geom-plymouth-quit.service
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

completions="$PREFIX/share/bash-completion/completions/geom_compositor"
completions+=" $PREFIX/share/zsh/site-functions/_geom_compositor"
completions+=" $PREFIX/share/fish/vendor_completions.d/geom_compositor.fish"

install_all() {
  [ -x "$FROM/geom_compositor" ] || fail "no $FROM/geom_compositor; build it: make build"
  version=$("$FROM/geom_compositor" --version | awk '{print $2}')
  # `make build` has written it: root, who may have no cargo, need not.
  if [ ! -e "$NOTICES" ] || [ Cargo.lock -nt "$NOTICES" ]; then tools/notices.py "$NOTICES" >/dev/null; fi
  while read -r mode to from; do
    case $from in
      @*)
        filled=$(mktemp)
        sed -e "s|@LIBDIR@|$(quoted "$lib")|g; s|@USERDATA@|$(quoted "$userdata")|g" \
          -e "s|@PREFIX@|$(quoted "$PREFIX")|g; s|@INCLUDEDIR@|$(quoted "$PREFIX")/include|g" \
          -e "s|@VERSION@|$version|g" "${from#@}" >"$filled"
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
  # A changed configuration stays; this version's is installed next to it as
  # geom_compositor.toml.default.
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
install: next, as root:
  systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload && udevadm control --reload
  systemctl enable --now geom-compositor.service
NEXT
}

uninstall_all() {
  while read -r _ to _; do rm -f "$DESTDIR$to"; done < <(files)
  while read -r link _; do rm -f "$DESTDIR$link"; done < <(links)
  rm -f "$DESTDIR$lib"/*.whl "$DESTDIR$PREFIX"/share/man/man1/geom_compositor*.1
  for to in $completions; do rm -f "$DESTDIR$to"; done
  # An unchanged configuration goes as well.
  cmp -s conf/geom_compositor.toml "$DESTDIR$conf/geom_compositor.toml" && rm -f "$DESTDIR$conf/geom_compositor.toml"
  # Empty folders go.
  for folder in "$doc" "$lib" "$geometry/system/lib" "$conf" "$geometry/system" "$userdata" "$geometry"; do
    rmdir "$DESTDIR$folder" 2>/dev/null || true
  done
  [ ! -d "$DESTDIR$geometry" ] || say "files that users have written stay in $DESTDIR$geometry"
  [ -n "$DESTDIR" ] || cat <<NEXT
install: next, as root, if it ran as a service:
  systemctl stop 'geom-kiosk*' 'geom-compositor*' && systemctl daemon-reload
  userdel geom-kiosk && rm -rf /var/lib/geom-kiosk    # data of kiosk programs
  userdel geom && rm -rf /var/lib/geom-compositor     # crash reports
NEXT
}

case "${1:-}" in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *) echo "usage: [DESTDIR=] [PREFIX=] $0 install|uninstall" >&2; exit 2 ;;
esac
