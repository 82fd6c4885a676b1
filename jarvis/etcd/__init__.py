"""The etcd cluster that stores Kubernetes' objects, on the servers themselves, with mutual TLS."""

from jarvis.etcd.cluster import EtcdCluster, EtcdClusterArgs
from jarvis.etcd.member import EtcdMember, EtcdMemberArgs

__all__ = ["EtcdCluster", "EtcdClusterArgs", "EtcdMember", "EtcdMemberArgs"]
