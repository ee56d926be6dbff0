#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Prints the Debian archives that this machine's apt uses, the best candidate first, one per line:
# the URI, a tab, and the keyring or fingerprint of its Signed-By (empty if apt's own keys apply).
#
# It reads sources.list and sources.list.d in both formats (sources.list(5)). An archive of another
# vendor can look the same (`stable main`), so apt's downloaded indexes decide if there are any
# (Origin and Label "Debian"). Without them, each entry of a Debian suite is a candidate and the
# caller takes the first that works. The archives for security updates are not candidates.
set -euo pipefail

eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
codename=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}")
keyring=/usr/share/keyrings/debian-archive-keyring.gpg # of the package debian-archive-keyring

# Prints `URI <tab> suites <tab> components <tab> signed-by` for each enabled binary source.
one_line_style() {
  awk '
    $1 != "deb" { next }
    {
      options = ""
      if (match($0, /\[[^]]*\]/)) {
        options = substr($0, RSTART + 1, RLENGTH - 2)
        $0 = substr($0, 1, RSTART - 1) " " substr($0, RSTART + RLENGTH)
      }
      sub(/#.*/, "")
      signed = ""
      count = split(options, words, " ")
      for (i = 1; i <= count; i++)
        if (tolower(substr(words[i], 1, 10)) == "signed-by=") signed = substr(words[i], 11)
      components = ""
      for (i = 4; i <= NF; i++) components = components " " $i
      print $2 "\t" $3 "\t" components "\t" signed
    }' "$@"
}
deb822_style() {
  awk -v keyring="$keyring" '
    function flush_stanza(   uris, count, i) {
      if ((" " value["types"] " ") ~ / deb / && tolower(value["enabled"]) !~ /^ *(no|false|0|off|without|disable)/) {
        signed = value["signed-by"]
        # A key in the file itself: Debian has the same one in its keyring.
        if (signed ~ /BEGIN PGP/) signed = keyring
        gsub(/^ +| +$/, "", signed)
        count = split(value["uris"], uris, " ")
        for (i = 1; i <= count; i++)
          print uris[i] "\t" value["suites"] "\t" value["components"] "\t" signed
      }
      split("", value)
      field = ""
    }
    FNR == 1 { flush_stanza() }
    /^#/ { next }
    /^[ \t]*$/ { flush_stanza(); next }
    /^[ \t]/ { value[field] = value[field] " " $0; next }
    {
      field = tolower(substr($0, 1, index($0, ":") - 1))
      value[field] = substr($0, index($0, ":") + 1)
    }
    END { flush_stanza() }' "$@"
}

files() { find "$parts" -maxdepth 1 -name "$1" 2>/dev/null | LC_ALL=C sort; }
mapfile -t lists < <([ ! -f "$list" ] || echo "$list"; files '*.list')
mapfile -t sources < <(files '*.sources')
known=$(apt-get indextargets --format '$(REPO_URI)' \
  'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main' 2>/dev/null || true)
{
  [ ${#lists[@]} -eq 0 ] || one_line_style "${lists[@]}"
  [ ${#sources[@]} -eq 0 ] || deb822_style "${sources[@]}"
} | awk -F '\t' -v codename="$codename" -v known="$known" '
    BEGIN { has_known = split(known, uris, "\n"); for (i in uris) is_known[uris[i]] = 1 }
    $1 ~ /^cdrom:/ || (" " $3 " ") !~ /[ \t]main[ \t]/ { next }
    {
      uri = $1
      sub(/\/+$/, "", uri)
      if (has_known && !((uri "/") in is_known)) next
      count = split($2, suites, " ")
      for (i = 1; i <= count; i++)
        if ((suites[i] == codename || suites[i] ~ /^(oldstable|stable|testing|unstable|sid)$/) && !seen[uri]++)
          print uri "\t" $4
    }'
