"""Container images, pushed to the registry of every server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from jarvis.config.artifacts import Image
from jarvis.core.component import Component
from jarvis.images.registry import NAME, Registry
from jarvis.remote import LocalCheck, LocalCheckArgs


@dataclass(frozen=True, kw_only=True)
class PublishedImagesArgs:
    """The images, and where they go.

    Attributes:
        images: OCI layouts on the operator's machine, by name.
        registry: the registry.
    """

    images: Mapping[str, Image]
    registry: Registry


class PublishedImages(Component, token="images:Published"):
    """Pushes all images to the registry of each server: one command per server, side by side.

    Layers that a registry has are not sent again. An image that is rebuilt with the same digest changes
    nothing.

    Attributes:
        ready: the pushes, after which every registry has all images.
    """

    ready: list[pulumi.Resource]

    def __init__(
        self, name: str, args: PublishedImagesArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, opts)
        self._images = args.images
        registry = args.registry
        digests = {each: image.digest for each, image in sorted(args.images.items())}
        self.ready = [
            LocalCheck(
                f"{name}-{server}",
                LocalCheckArgs(
                    command="exec python3 jarvis/images/push.py",
                    stdin=pulumi.Output.json_dumps(
                        {
                            "endpoint": registry.endpoints[server],
                            "images": digests,
                            "authority": registry.authority.certificate,
                            "certificate": registry.pusher.chain,
                            "key": registry.pusher.key,
                        }
                    ),
                ),
                self.child(depends_on=[service]),
            )
            for server, service in registry.ready.items()
        ]
        self.register_outputs({})

    def reference(self, name: str) -> str:
        """The reference by which a pod runs the image ``name``.

        Raises:
            KeyError: there is no such image.
        """
        return f"{NAME}/{name}@{self._images[name].digest}"
