"""Ceph's daemons of a server: what they need beyond their units."""
