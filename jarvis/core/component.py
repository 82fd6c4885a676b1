"""Base classes of Jarvis' components and resources."""

from __future__ import annotations

from typing import Any, ClassVar

import pulumi


class Component(pulumi.ComponentResource):
    """A Pulumi component with a type token of the form ``jarvis:<module>:<Type>``.

    A subclass names its token once, as a class argument::

        class EtcdMember(Component, token="etcd:Member"):
            ...

    A type that was renamed names its former token as ``former``: it becomes an alias, and stacks made under
    the former one keep their resources.

    The caller's options apply to the component alone and are never merged into its children: a caller's
    ``parent`` would take the children away from the component.

    Args:
        name: logical name, unique for the type in a stack.
        opts: the caller's options.

    Attributes:
        token: type token without ``jarvis:``.
        former: the token before a rename, or empty.
        types: type tokens from the topmost component down to this one, joined by ``$`` as in a URN.

    Raises:
        TypeError: the subclass has no token.
    """

    token: ClassVar[str] = ""
    former: ClassVar[str] = ""
    types: str

    def __init_subclass__(cls, *, token: str = "", former: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if token:
            cls.token, cls.former = token, former

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        if not self.token:
            raise TypeError(
                f"{type(self).__name__} has no type token: class X(Component, token='module:Type')"
            )
        if self.former:
            alias = pulumi.Alias(type_=f"jarvis:{self.former}")
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=[alias]))
        super().__init__(f"jarvis:{self.token}", name, None, opts)
        above = opts.parent.types + "$" if opts and isinstance(opts.parent, Component) else ""
        self.types = f"{above}jarvis:{self.token}"

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


class Unwrapped(pulumi.Resource):
    """A resource that used to be the only child of a component of the same name.

    A subclass names the type of that component once, as a class argument. It becomes an alias, so stacks that
    have the component keep the resource::

        class Grant(HostService, once_in="stateful:Grant"):
            ...

    Where the base class was wrapped too, its component was inside.

    Attributes:
        once_in: type tokens of those components, from the outermost to the innermost.
    """

    once_in: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, once_in: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if once_in:
            cls.once_in = (f"jarvis:{once_in}", *cls.once_in)

    @classmethod
    def own_options(
        cls, name: str, opts: pulumi.ResourceOptions | None, **options: Any
    ) -> pulumi.ResourceOptions:
        """``opts`` with ``options``, and with aliases for the places where the resource ``name`` used to be.

        Args:
            name: logical name of the resource.
            opts: the caller's options.
            **options: keywords of ``pulumi.ResourceOptions``.
        """
        parent = opts.parent if opts is not None else None
        types = [parent.types] if isinstance(parent, Component) else []
        aliases = []
        for each in cls.once_in:
            types.append(each)
            # Written by hand: pulumi.create_urn makes two Outputs for each, a tenth of the program's time.
            urn = f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{'$'.join(types)}::{name}"
            aliases.append(pulumi.Alias(parent=urn))
        return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=aliases, **options))
