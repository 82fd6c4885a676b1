"""The base class of every Jarvis component."""

from __future__ import annotations

from typing import Any, ClassVar

import pulumi


class Component(pulumi.ComponentResource):
    """A Pulumi component with a type token of the form ``jarvis:<module>:<Type>``.

    A subclass names its token once, as a class argument::

        class EtcdMember(Component, token="etcd:Member"):
            ...

    Args of ``__init__``: ``name``, the logical name, unique for the type in a stack; ``opts``, the
    caller's options, which are applied to the component alone and never merged into its children.

    Raises ``TypeError`` when a subclass that is instantiated has no token.
    """

    token: ClassVar[str] = ""

    def __init_subclass__(cls, *, token: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if token:
            cls.token = token

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        if not self.token:
            raise TypeError(
                f"{type(self).__name__} has no type token: class X(Component, token='module:Type')"
            )
        super().__init__(f"jarvis:{self.token}", name, None, opts)

    def child(self, **options: Any) -> pulumi.ResourceOptions:
        """The options of a child resource: this component as parent, and what ``options`` adds
        (any keyword of ``pulumi.ResourceOptions``)."""
        return pulumi.ResourceOptions(parent=self, **options)

    def in_cluster(self, provider: pulumi.ProviderResource, **options: Any) -> pulumi.ResourceOptions:
        """The options of a child that is an object of the cluster of ``provider``.

        Where the cluster itself is destroyed its objects go with it, and are forgotten rather than deleted.
        """
        return self.child(provider=provider, deleted_with=provider, **options)


def merged(opts: pulumi.ResourceOptions | None, **options: Any) -> pulumi.ResourceOptions:
    """The caller's ``opts``, and of the resource itself ``options`` (any keyword of
    ``pulumi.ResourceOptions``)."""
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(**options))
