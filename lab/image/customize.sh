#!/bin/sh
# Turns a fresh Debian tree ($1) into the image of a lab server. Run by mmdebstrap as a customize hook;
# LAB_IMAGE_FILES is the folder of files to lay over it.
set -eu
root="$1"

cp -r --preserve=mode "$LAB_IMAGE_FILES"/. "$root"/

# What makes one server differ from the next comes with its disk, never with the image.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/hostname
: >"$root"/etc/machine-id
rm -f "$root"/var/lib/dbus/machine-id
: >"$root"/etc/fstab
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root"/etc/resolv.conf
install -d -m 0700 "$root"/root/.ssh

# Kernel settings that are not the network's are the machine's: no file may set them at boot.
rm -f "$root"/usr/lib/sysctl.d/* "$root"/etc/sysctl.d/*

# By the systemctl inside: a container in which this runs may have none.
chroot "$root" systemctl --root=/ enable lab-box.service ssh.service systemd-resolved.service
# What packages of an operator start stays enabled, as their scripts left it: a real server that has them runs it too.
# Nothing to do in a box, or only noise and time at every boot.
chroot "$root" systemctl --root=/ mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    console-getty.service getty@tty1.service getty.target systemd-logind.service \
    systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service \
    systemd-modules-load.service modprobe@.service kmod-static-nodes.service systemd-firstboot.service \
    systemd-remount-fs.service dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount systemd-binfmt.service \
    nvmf-autoconnect.service systemd-machine-id-commit.service systemd-hwdb-update.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service systemd-random-seed.service

rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/*.log "$root"/var/log/apt \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
# sshd wants its privilege separation folder before tmpfiles ran.
install -d -m 0755 "$root"/run/sshd
