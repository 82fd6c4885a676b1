"""Faults of a running cloud, under load: what its users notice, what they lose, and when all is well."""
