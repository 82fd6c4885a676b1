"""A service of OpenStack: what its definition says, as resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import pulumi

from jarvis.core.component import Component
from jarvis.openstack.build.cache import Cache, CacheArgs
from jarvis.openstack.build.jobs import Task, TaskArgs
from jarvis.openstack.build.keys import KeyRing
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.build.pods import PodArgs
from jarvis.openstack.build.process import Configured, Folders, ProcessArgs, configure, roll_out
from jarvis.openstack.build.registration import Administrator, Registration, RegistrationArgs
from jarvis.openstack.build.state import State, make_state
from jarvis.openstack.model import CEPH_FOLDER, AnyService
from jarvis.openstack.option_list import OptionList
from jarvis.openstack.options import operator_secrets, plain_options
from jarvis.openstack.urls import service_url


class RbdClient(Protocol):
    """A client of the storage."""

    @property
    def keyrings(self) -> Mapping[str, pulumi.Output[str]]:
        """Texts by user: of the current and of the former."""

    @property
    def config(self) -> pulumi.Output[str]:
        """Text of ceph.conf."""


@dataclass(frozen=True, kw_only=True)
class ServiceArgs:
    """A service.

    Attributes:
        service: what it is.
        platform: what services share.
        image: reference of its image.
        known: the options that it has.
        cache_image: reference of memcached's image.
        administrator: of Keystone; none for Keystone itself.
        ceph: its clients of the storage, by name.
        rings: of keys, by the path of their folder.
        folders: further secret files.
    """

    service: AnyService
    platform: Platform
    image: pulumi.Input[str]
    known: OptionList
    cache_image: pulumi.Input[str]
    administrator: Administrator | None = None
    ceph: Mapping[str, RbdClient] = field(default_factory=dict)
    rings: Mapping[str, KeyRing] = field(default_factory=dict)
    folders: Folders = field(default_factory=dict)


class Processes(Component, token="openstack:Service"):
    """Databases with accounts, parts of the queue, and pods of each process of a service.

    A change replaces the pods one by one, each after its successor is ready; a changed secret is a change.
    An option of one process replaces the pods of no other.

    Attributes:
        pod: of Jobs that have the first process's configuration.
        migrated: the resources after which the schema is there.
        ready: the Deployments, by process.
    """

    pod: PodArgs
    migrated: list[pulumi.Resource]
    ready: dict[str, pulumi.Resource]

    def __init__(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        service, platform = args.service, args.platform
        registration = self._register(args)
        state = make_state(self, service, platform)
        parts = {
            process: self._process_args(args, process, state, registration) for process in service.processes
        }
        configured = {process: configure(self, one) for process, one in parts.items()}
        self.pod = configured[service.first].pod
        self.migrated = self._migrate(args, state, configured)
        registered = [registration.ready] if registration is not None else []
        self.ready = {
            process: roll_out(
                self,
                one,
                configured[process],
                [
                    *self.migrated,
                    *(state.queues[each.name] for each in service.queues_of(one.about)),
                    *registered,
                    *(ring.ready for ring in args.rings.values()),
                ],
            )
            for process, one in parts.items()
        }
        self._contract(args, configured)
        self.register_outputs({})

    def _register(self, args: ServiceArgs) -> Registration | None:
        """Its entry in Keystone, where it has an account."""
        service, env = args.service, args.platform.env
        if args.administrator is None or not service.keystone.account:
            return None
        limits = service.keystone.limits
        return Registration(
            f"{service.name}-register",
            RegistrationArgs(
                platform=args.platform,
                service=service.name,
                user=service.user,
                image=args.image,
                administrator=args.administrator,
                kind=service.keystone.kind,
                url=service_url(env, service),
                limits=limits(service.settings_in(env)) if limits else {},
                rotation=env.rotations.get(f"{service.name}-register", 0),
            ),
            self.child(),
        )

    def _process_args(
        self, args: ServiceArgs, process: str, state: State, registration: Registration | None
    ) -> ProcessArgs:
        service, platform = args.service, args.platform
        about = service.processes[process]
        secrets: dict[str, pulumi.Input[str]] = dict(state.secrets(about, platform))
        if registration is not None:
            groups = service.keystone.password_groups
            secrets |= {f"{group}.password": registration.password for group in groups}
        told = operator_secrets(service, process, platform.env)
        secrets |= {option: pulumi.Output.secret(text) for option, text in told.items()}
        folders = dict(args.folders)
        files: dict[str, pulumi.Input[str]] = {}
        for use in service.ceph_of(about):
            client = args.ceph[use.client]
            files["ceph.conf"] = client.config
            # Pods that are still to be replaced see this folder change, and connect anew.
            files |= {f"ceph.client.{user}.keyring": text for user, text in client.keyrings.items()}
        if files:
            folders[CEPH_FOLDER] = files
        return ProcessArgs(
            service=service,
            process=process,
            platform=platform,
            image=args.image,
            options=plain_options(service, process, platform.env, args.known),
            secrets=secrets,
            key=state.key(about),
            folders=folders,
            rings={path: ring.name for path, ring in args.rings.items()},
        )

    def _migrate(
        self, args: ServiceArgs, state: State, configured: Mapping[str, Configured]
    ) -> list[pulumi.Resource]:
        service, migration = args.service, args.service.migration
        if migration is None:
            return []
        process = migration.process or service.first
        own = configured[process]
        about = service.processes[process]
        return [
            Task(
                f"{service.name}-expand",
                TaskArgs(platform=args.platform, pod=own.pod, task="expand", command=migration.expand),
                self.in_cluster(
                    args.platform.provider,
                    depends_on=[
                        *(state.grants[each.name] for each in service.databases_of(about)),
                        *own.resources,
                        *(ring.secret for ring in args.rings.values()),
                    ],
                ),
            )
        ]

    def _contract(self, args: ServiceArgs, configured: Mapping[str, Configured]) -> None:
        """Moves data to the new schema once no pod of before is left, and ends the former one."""
        service, migration = args.service, args.service.migration
        if migration is None:
            return
        before = list(self.ready.values())
        for task, command in (("fill", migration.fill), ("contract", migration.contract)):
            if command:
                pod = configured[migration.process or service.first].pod
                before = [
                    Task(
                        f"{service.name}-{task}",
                        TaskArgs(platform=args.platform, pod=pod, task=task, command=command),
                        self.in_cluster(args.platform.provider, depends_on=before),
                    )
                ]


class Service(Component):
    """A service with all that is its own.

    Its type is ``jarvis:openstack:<Title>``. A service that has more than its definition says is a subclass.

    Attributes:
        url: where clients find it.
        processes: its pods.
        ready: the resources after which it serves.
    """

    url: str
    processes: Processes
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts, own_token=f"openstack:{args.service.title}")
        service, platform = args.service, args.platform
        self.url = service_url(platform.env, service)
        self.processes = Processes(name, self.completed(args), self.child())
        self.ready = list(self.processes.ready.values())
        for task, command in service.tasks.items():
            Task(
                f"{name}-{task}",
                TaskArgs(platform=platform, pod=self.processes.pod, task=task, command=command),
                self.in_cluster(platform.provider, depends_on=self.processes.migrated),
            )
        self.finish(args)
        self.register_outputs({"url": self.url})

    def completed(self, args: ServiceArgs) -> ServiceArgs:
        """``args`` with what the service itself makes for its processes: a cache, where it has one."""
        if args.service.cached is None:
            return args
        cache = Cache(
            f"{args.service.name}-cache",
            CacheArgs(platform=args.platform, service=args.service.name, image=args.cache_image),
            self.child(),
        )
        return replace(args, folders={**args.folders, **cache.folders})

    def finish(self, args: ServiceArgs) -> None:
        """What is made after the processes; nothing for most."""
