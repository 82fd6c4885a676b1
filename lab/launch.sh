#!/bin/bash
# Starts one server. Runs in a mount namespace and a network namespace of its own, which become the server's and
# podman's: when the server's processes are gone, so are its mounts and its interface, whoever killed them.
#
# Environment: LAB_HOME (marks what starts a server), LAB_DISK (file), LAB_IMAGE (tree), LAB_SEED (files of this
# server alone), LAB_MOUNT (an empty folder), LAB_LINK, LAB_BRIDGE, LAB_ALIAS, LAB_ADDRESS, LAB_MAC.
# File descriptor 3 is the machine's network namespace.
# Arguments: the podman command, to which the root filesystem and the command of PID 1 are added.
set -euo pipefail

machine() { nsenter --net=/proc/self/fd/3 "$@"; }

# A name as udev gives a card by its slot: nothing may count on eth0.
machine ip link add "$LAB_LINK" type veth peer name ens3 address "$LAB_MAC" netns $$
machine ip link set dev "$LAB_LINK" alias "$LAB_ALIAS"
machine ip link set dev "$LAB_LINK" master "$LAB_BRIDGE" up
ip link set dev lo up
ip address add "$LAB_ADDRESS" dev ens3
ip link set dev ens3 up
exec 3>&-

mount -t tmpfs -o size=1m,mode=0700 lab "$LAB_MOUNT"
mkdir "$LAB_MOUNT/disk" "$LAB_MOUNT/rootfs"
mount -o loop,noatime,discard,noinit_itable "$LAB_DISK" "$LAB_MOUNT/disk"
mount -t overlay lab \
    -o "lowerdir=$LAB_IMAGE,upperdir=$LAB_MOUNT/disk/root/upper,workdir=$LAB_MOUNT/disk/root/work" "$LAB_MOUNT/rootfs"

if ! [ -e "$LAB_MOUNT/disk/seeded" ]; then
    cp -r --preserve=mode "$LAB_SEED/." "$LAB_MOUNT/rootfs/"
    sync -f "$LAB_MOUNT/disk"
    : >"$LAB_MOUNT/disk/seeded"
fi

# On cgroup v1 podman gives all servers the machine's one hierarchy of systemd, and a kubelet removes from it what it
# does not know: groups of other servers' pods. Mounted in the server's control group namespace it is its own; by a
# detour, since no file system is mounted over itself.
# shellcheck disable=SC2016 # read in the server
readonly INIT='
own=/sys/fs/cgroup/systemd
if [ -d $own ]; then
    mount -t cgroup -o none,name=systemd cgroup /mnt && mount --bind /mnt $own && umount /mnt || exit
fi
exec /sbin/init'
exec "$@" --volume "$LAB_MOUNT/disk/var:/var" --rootfs "$LAB_MOUNT/rootfs" /bin/sh -c "$INIT"
