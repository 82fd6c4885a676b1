"""Container images: the registry on the servers, and its content."""

from jarvis.images.published import PublishedImages, PublishedImagesArgs
from jarvis.images.registry import Registry, RegistryArgs

__all__ = ["PublishedImages", "PublishedImagesArgs", "Registry", "RegistryArgs"]
