"""The container images of Jarvis: their recipes (one folder each) and what builds them.

An image is made of Debian packages, Python wheels and built tools, all named by locks with their sha256.
Nothing runs as root inside an image, and none needs a writable root file system.
``docs/decisions/010-images.md`` says why it is done this way.
"""

from images.builder import Progress, Result, build
from images.errors import ImageError
from images.recipe import Recipe, load_recipes

__all__ = ["ImageError", "Progress", "Recipe", "Result", "build", "load_recipes"]
