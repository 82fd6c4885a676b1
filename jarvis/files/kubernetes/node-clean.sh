#!/bin/bash
# Ends what outlives kubelet, kube-proxy and containerd, when this server leaves the cluster: pods, their mounts and
# network, and the rules of Services. Only what Jarvis' own units have made is touched.
set -euo pipefail

systemctl stop kubelet.service kube-proxy.service 2>/dev/null || true

containers() { # verb: acts on each container of Kubernetes' namespace
  local id
  while read -r id; do
    [ -z "$id" ] || ctr --namespace k8s.io "$@" "$id" >/dev/null 2>&1 || true
  done
}

if systemctl is-active --quiet containerd.service; then
  ctr --namespace k8s.io tasks list --quiet | containers tasks kill --signal SIGTERM
  for _ in $(seq 1 20); do
    [ -n "$(ctr --namespace k8s.io tasks list 2>/dev/null | grep RUNNING || true)" ] || break
    sleep 0.25
  done
  ctr --namespace k8s.io tasks list --quiet | containers tasks delete --force
  ctr --namespace k8s.io containers list --quiet | containers containers delete
  systemctl stop containerd.service
fi
# The pods' cgroups, which the kubelet had systemd make, and all below.
systemctl stop kubepods.slice 2>/dev/null || true

# Deepest first; the folders themselves are removed with their roles.
{ findmnt --raw --noheadings --output TARGET || true; } \
  | { grep -E '^(/var/lib/kubelet|/run/containerd|/var/lib/containerd|/run/netns/cni-)' || true; } \
  | sort -r | while read -r target; do umount --lazy "$target" || true; done
rm -f /run/netns/cni-*

# A pod's end of the wire stays while the kernel still closes the pod's connections, for minutes; ours does not.
{ ip -o link show master cni0 2>/dev/null || true; } | sed -E 's/^[0-9]+: ([^@:]+).*/\1/' \
  | while read -r wire; do ip link delete "$wire" || true; done
ip link delete cni0 2>/dev/null || true
for table in kube-proxy cni_hostport cni-hostport; do
  for family in ip ip6 inet; do nft delete table "$family" "$table" 2>/dev/null || true; done
done
