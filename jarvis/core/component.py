"""The base class of Jarvis' components."""

from __future__ import annotations

from typing import Any, ClassVar

import pulumi


class Component(pulumi.ComponentResource):
    """A Pulumi component with a type token of the form ``jarvis:<module>:<Type>``.

    A subclass names its token once, as a class argument::

        class EtcdMember(Component, token="etcd:Member"):
            ...

    The caller's options apply to the component alone and are never merged into its children: a caller's
    ``parent`` would take the children away from the component.

    Args:
        name: logical name, unique for the type in a stack.
        opts: the caller's options.
        own_token: type token of this one, for a class whose components differ in what they are.

    Attributes:
        token: type token without ``jarvis:``.

    Raises:
        TypeError: the subclass has no token.
    """

    token: ClassVar[str] = ""

    def __init_subclass__(cls, *, token: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if token:
            cls.token = token

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None, *, own_token: str = "") -> None:
        token = own_token or self.token
        if not token:
            raise TypeError(
                f"{type(self).__name__} has no type token: class X(Component, token='module:Type')"
            )
        super().__init__(f"jarvis:{token}", name, None, opts)

    def child(self, **options: Any) -> pulumi.ResourceOptions:
        """Options of a child resource: this component as parent, and ``options``.

        Args:
            **options: keywords of ``pulumi.ResourceOptions``.
        """
        return pulumi.ResourceOptions(parent=self, **options)

    def in_cluster(self, provider: pulumi.ProviderResource, **options: Any) -> pulumi.ResourceOptions:
        """Options of a child that is an object in a Kubernetes cluster.

        Objects end with their cluster: where it is destroyed they are forgotten, not deleted one by one.

        Args:
            provider: the cluster's provider.
            **options: keywords of ``pulumi.ResourceOptions``.
        """
        return self.child(provider=provider, deleted_with=provider, **options)


def merged(opts: pulumi.ResourceOptions | None, **options: Any) -> pulumi.ResourceOptions:
    """The caller's options of a resource, and those that are its own.

    Args:
        opts: the caller's.
        **options: keywords of ``pulumi.ResourceOptions``.
    """
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(**options))
