"""The pinned tools and how each is obtained: ``python -m toolchain --help``."""
