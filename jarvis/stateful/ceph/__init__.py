"""Ceph: storage of images and volumes, on the servers themselves."""

from jarvis.stateful.ceph.client import CephClient, CephClientArgs
from jarvis.stateful.ceph.pool import Pool, PoolArgs
from jarvis.stateful.ceph.storage import Storage, StorageArgs

__all__ = ["CephClient", "CephClientArgs", "Pool", "PoolArgs", "Storage", "StorageArgs"]
