#!/bin/bash
# The host release: one squashfs image of what a server runs, merged over /usr by systemd-sysext.
#
#   release activate SHA256 [STAGED]   checks the image that was sent to STAGED and switches to it in one shot
#   release rollback                   switches back to the image before; then restart the units concerned
#   release status                     which image is merged, and which can be rolled back to
#   release remove                     unmerges and removes all images
#
# Images lie in /var/lib/jarvis/releases by their digest. /var/lib/extensions/jarvis.raw is a link to the one
# that is merged, now and at every boot; `previous` a link to the one before. Others are removed.
set -euo pipefail
umask 022

readonly ROOT=${JARVIS_ROOT:-}
readonly IMAGES=$ROOT/var/lib/jarvis/releases
readonly ACTIVE=$ROOT/var/lib/extensions/jarvis.raw
readonly MERGED=$ROOT/usr/lib/extension-release.d/extension-release.jarvis

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $(hostname): release: $*"
  exit 1
}

digest_of() { sha256sum <"$1" | cut -d' ' -f1; }

link() { # target path: in one step
  local temporary
  temporary=$(mktemp -u "$(dirname "$2")/.link.XXXXXXXX")
  ln -s "$1" "$temporary"
  mv -T "$temporary" "$2"
}

receive() { # digest staged: the image lies in its place, checked
  local image=$IMAGES/$1.raw found
  if [ -n "$2" ] && [ -f "$2" ]; then
    found=$(digest_of "$2")
    if [ "$found" != "$1" ]; then
      rm -f -- "$2"
      die "$2 has sha256 $found, not $1: it is removed; have it sent again: pulumi up --replace '**release-image'"
    fi
    chmod 0644 "$2"
    sync "$2"
    mv -T "$2" "$image"
    sync "$IMAGES"
  fi
  [ -f "$image" ] || die "there is no image $image; have it sent again: pulumi up --replace '**release-image'"
  found=$(digest_of "$image")
  [ "$found" = "$1" ] || die "$image is damaged (sha256 $found); remove it and have it sent again: pulumi up --replace '**release-image'"
}

switch() { # image
  local current
  current=$(readlink "$ACTIVE" 2>/dev/null || true)
  if [ "$current" = "$1" ] && [ -e "$MERGED" ] && [ "$(cat "$IMAGES/merged" 2>/dev/null || true)" = "$(boot) $1" ]; then
    say "release: unchanged"
    return 0
  fi
  mkdir -p "$(dirname "$ACTIVE")"
  if [ -n "$current" ] && [ "$current" != "$1" ] && [ -f "$current" ]; then link "$current" "$IMAGES/previous"; fi
  link "$1" "$ACTIVE"
  sync "$(dirname "$ACTIVE")"
  systemd-sysext refresh >&2 || die "systemd-sysext cannot merge $1 (journalctl --unit systemd-sysext)"
  [ -e "$MERGED" ] || die "systemd-sysext refresh did not bring up $MERGED"
  systemctl enable --quiet systemd-sysext.service
  printf '%s %s\n' "$(boot)" "$1" >"$IMAGES/merged.new"
  mv -T "$IMAGES/merged.new" "$IMAGES/merged"
  say "release: switched to $(basename "$1" .raw)"
}

boot() { cat "$ROOT/proc/sys/kernel/random/boot_id"; }

prune() {
  local image
  for image in "$IMAGES"/*.raw; do
    if [ "$image" != "$(readlink "$ACTIVE")" ] && [ "$image" != "$(readlink "$IMAGES/previous" || true)" ]; then
      rm -f -- "$image"
    fi
  done
}

activate() { # digest staged
  [[ $1 =~ ^[0-9a-f]{64}$ ]] || die "$1 is not a sha256"
  mkdir -p "$IMAGES"
  receive "$1" "$2"
  switch "$IMAGES/$1.raw"
  prune
  # For observe.sh: a switch by hand does not come here.
  [ -z "${JARVIS_MADE:-}" ] || echo "release $1" >>"$JARVIS_MADE"
}

rollback() {
  local image
  image=$(readlink "$IMAGES/previous" 2>/dev/null || true)
  [ -f "$image" ] || die "there is no image before this one"
  switch "$image"
  say "release: restart what is to run from it, such as: systemctl restart etcd"
}

status() {
  printf 'active   %s\n' "$(readlink "$ACTIVE" 2>/dev/null || echo none)"
  printf 'previous %s\n' "$(readlink "$IMAGES/previous" 2>/dev/null || echo none)"
  if [ -e "$MERGED" ]; then echo "merged   yes"; else echo "merged   no"; fi
}

remove() {
  rm -f -- "$ACTIVE"
  systemd-sysext refresh >&2 || true
  [ ! -e "$MERGED" ] || systemd-sysext unmerge >&2
  rm -rf -- "$IMAGES"
  rmdir --ignore-fail-on-non-empty "$(dirname "$ACTIVE")" 2>/dev/null || true
}

case ${1:-} in
  activate) activate "${2:?a sha256}" "${3:-}" ;;
  rollback) rollback ;;
  status) status ;;
  remove) remove ;;
  *) die "usage: release activate SHA256 [STAGED] | rollback | status | remove" ;;
esac
