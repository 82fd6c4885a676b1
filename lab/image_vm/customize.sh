#!/bin/sh
# Turns a fresh Debian tree ($1) into the image of a virtual machine, as Debian's installer leaves a server. Run by
# mmdebstrap as a customize hook. Nothing is disabled, nothing masked.
set -eu
root="$1"

# What makes one server differ from the next comes with its disk, never with the image.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/hostname
: >"$root"/etc/machine-id
rm -f "$root"/var/lib/dbus/machine-id
install -d -m 0700 "$root"/root/.ssh
# The installer gives the whole disk, and swap.
printf '%s\n' '/dev/vda / ext4 errors=remount-ro 0 1' '/dev/vdc none swap sw 0 0' >"$root"/etc/fstab
printf '%s\n' 'APT::Periodic::Update-Package-Lists "1";' 'APT::Periodic::Unattended-Upgrade "1";' \
    >"$root"/etc/apt/apt.conf.d/20auto-upgrades
# The lab's console reads it after a power-off too.
install -d -m 2755 "$root"/var/log/journal
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log "$root"/var/log/apt
