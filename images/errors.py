"""The error of this package."""


class ImageError(Exception):
    """An image cannot be built or pushed: the message says which one, why, and what to do."""
