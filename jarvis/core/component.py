"""The base class of every Jarvis component, and of what used to stand alone in one."""

from __future__ import annotations

from typing import Any, ClassVar

import pulumi


class Component(pulumi.ComponentResource):
    """A Pulumi component with a type token of the form ``jarvis:<module>:<Type>``.

    A subclass names its token once, as a class argument::

        class EtcdMember(Component, token="etcd:Member"):
            ...

    One that was called otherwise names its former token as ``former``, so that stacks made then go on.

    Args of ``__init__``: ``name``, the logical name, unique for the type in a stack; ``opts``, the
    caller's options, which are applied to the component alone and never merged into its children.

    Raises ``TypeError`` when a subclass that is instantiated has no token.
    """

    token: ClassVar[str] = ""
    former: ClassVar[str] = ""
    # The types of all components from the topmost one down to this, as its URN has them.
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
        """The options of a child resource: this component as parent, and what ``options`` adds
        (any keyword of ``pulumi.ResourceOptions``)."""
        return pulumi.ResourceOptions(parent=self, **options)

    def in_cluster(self, provider: pulumi.ProviderResource, **options: Any) -> pulumi.ResourceOptions:
        """The options of a child that is an object of the cluster of ``provider``.

        Where the cluster itself is destroyed its objects go with it, and are forgotten rather than deleted.
        """
        return self.child(provider=provider, deleted_with=provider, **options)


class Unwrapped(pulumi.Resource):
    """A resource that stacks made before have as the only child of a component of the same name.

    A subclass names the type of that component once, as a class argument::

        class Grant(HostService, once_in="stateful:Grant"):
            ...

    Where its base class was in a component too, that one was inside.
    """

    # From the outermost component down to the innermost.
    once_in: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, *, once_in: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if once_in:
            cls.once_in = (f"jarvis:{once_in}", *cls.once_in)

    @classmethod
    def own_options(
        cls, name: str, opts: pulumi.ResourceOptions | None, **options: Any
    ) -> pulumi.ResourceOptions:
        """``opts``, what ``options`` adds (any keyword of ``pulumi.ResourceOptions``), and where the resource
        ``name`` was before."""
        parent = opts.parent if opts is not None else None
        types = [parent.types] if isinstance(parent, Component) else []
        aliases = []
        for each in cls.once_in:
            types.append(each)
            # Written down here: pulumi.create_urn makes two Outputs for each, a tenth of the program's time.
            urn = f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{'$'.join(types)}::{name}"
            aliases.append(pulumi.Alias(parent=urn))
        return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=aliases, **options))
