"""Ceph on the servers: the storage of images and volumes."""

from jarvis.stateful.ceph.client import CephClient, CephClientArgs
from jarvis.stateful.ceph.pool import Pool, PoolArgs
from jarvis.stateful.ceph.storage import Storage, StorageArgs

__all__ = ["CephClient", "CephClientArgs", "Pool", "PoolArgs", "Storage", "StorageArgs"]
