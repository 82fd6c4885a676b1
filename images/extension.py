"""A service as a system extension: the site-packages of its image for servers, merged over ``/usr``.

It lies in a folder of its own, ``/usr/lib/openstack/<name>``, with a virtual environment around it that runs
the server's own Python. So each extension has its own libraries, and one is replaced without the others;
``/opt``, which systemd-sysext would merge too, stays the server's. The byte code is that of the image: Python
corrects the paths in it when it is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from images.layer import Tree
from images.recipe import Document, file_digest
from images.squashfs import pack_archive
from images.wheels import HOME, add, site_of

# Where Debian's packages for Python lie on a server.
_DEBIAN = "/usr/lib/python3/dist-packages"
# systemd-sysext merges it on this release of Debian alone, whose Python it needs.
_RELEASE = "ID=debian\nVERSION_ID=12\n"


class Packed(TypedDict):
    """An extension: its ``name`` to systemd-sysext, ``path``, ``sha256`` and ``size`` in bytes."""

    name: str
    path: str
    sha256: str
    size: int


def extension_tree(name: str, document: Document, site: Path) -> Tree:
    """The files of the extension of the recipe ``name``, whose wheels lie, compiled, in ``site``."""
    assert document.python is not None
    assert document.extension is not None
    tree = Tree()
    home = f"usr/lib/openstack/{name}"
    add(tree, site, document.python.drop, home=home, etc=f"{home}/etc")
    for path, link in document.links.items():
        if path.startswith(f"{HOME}/"):
            tree.link(f"{home}/{path.removeprefix(f'{HOME}/')}", link)
    for file in document.extension.dist_packages:
        tree.link(f"{site_of(home)}/{file}", f"{_DEBIAN}/{file}")
    tree.text(f"usr/lib/extension-release.d/extension-release.{full_name(name)}", _RELEASE)
    return tree


def pack_extension(name: str, document: Document, site: Path, image: Path) -> Packed:
    """Packs the extension of the recipe ``name`` as ``image``. Raises ``ImageError`` where that fails."""
    pack_archive(extension_tree(name, document, site).write, image)
    return Packed(name=full_name(name), path=image.name, sha256=file_digest(image), size=image.stat().st_size)


def full_name(name: str) -> str:
    """What systemd-sysext knows the extension by: its file on a server is ``<this>.raw``."""
    return f"jarvis-{name}"
