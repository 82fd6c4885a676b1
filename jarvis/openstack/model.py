"""What a service of OpenStack says of itself: data, from which resources, settings and documents follow.

Nothing here imports Pulumi: the configuration is read by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from jarvis.config.service import ProcessSettings, ServiceSettings
from jarvis.config.types import Option

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

# The ConfigMap of certificates of authorities, and the folder in which every process finds them.
AUTHORITIES = "authorities"
AUTHORITIES_FOLDER = "/etc/jarvis/authorities"
# Where clients of the storage find its configuration and their keyring.
CEPH_FOLDER = "/etc/ceph"
# Seconds that requests under way have when a pod ends; the gateway waits no longer for an answer.
DRAIN = 60

# A value of an option; several are one of a multi-valued option, each a line of its own.
Value = Option | Sequence[str]
# Values by ``group.option``.
Options = Mapping[str, Value]

S = TypeVar("S", bound=ServiceSettings)


def authority_file(name: str) -> str:
    """Path at which every process finds the certificate of the authority called ``name``."""
    return f"{AUTHORITIES_FOLDER}/{name}.pem"


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Most memory of the containers of a process, in MiB.

    The defaults are for Keystone 30 and Glance 33, measured in a container at rest and under load
    (docs/decisions/029-threads.md).

    Attributes:
        fixed: uWSGI's master, and files that were read or written.
        process: one worker process.
        thread: what one request adds while it is served.
        task: a Job, which runs one command.
    """

    fixed: int = 256
    process: int = 176
    thread: int = 16
    task: int = 512

    def serving(self, *, processes: int, threads: int) -> int:
        """The limit of a pod with so many worker processes, of so many threads each."""
        return self.fixed + processes * (self.process + threads * self.thread)


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database of a service, with an account that sees no other.

    Attributes:
        name: of the database and of its account, such as ``nova_api``.
        option: the option that has its URL; options of its pool are in the same group.
        reaches: further databases of the service that its account may use, for a process that makes their
            URLs from this one's.
    """

    name: str
    option: str = "database.connection"
    reaches: Sequence[str] = ()

    @property
    def group(self) -> str:
        """The group of its options."""
        return self.option.partition(".")[0]

    @property
    def resource(self) -> str:
        """The name by which its resources and its counter begin: ``nova-api``."""
        return self.name.replace("_", "-")


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A virtual host of the queue, with an account that sees no other.

    Attributes:
        name: of both, such as ``nova-cell1``.
        option: the option that has its URL.
        reaches: further virtual hosts of the service that its account may use, likewise.
        notified: whether processes publish notifications there. Those that nobody reads are dropped, the
            oldest first.
    """

    name: str
    option: str = "DEFAULT.transport_url"
    reaches: Sequence[str] = ()
    notified: bool = False


@dataclass(frozen=True, kw_only=True)
class CephUse:
    """A client of the storage that a service has.

    Attributes:
        client: its name.
        pools: pools whose images it may read and write.
    """

    client: str
    pools: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class KeystoneUse(Generic[S]):
    """How Keystone knows a service.

    Attributes:
        kind: type in the catalogue of endpoints, such as ``image``.
        path: what is appended to the service's URL there.
        account: whether it has an account, by which it checks tokens.
        logins: groups of options by which it logs in.
        limits: the default limits of projects by name, from its settings; those are read at Keystone.
    """

    kind: str
    path: str = ""
    account: bool = True
    logins: Sequence[str] = ("keystone_authtoken",)
    limits: Callable[[S], Mapping[str, int]] | None = None

    @property
    def password_groups(self) -> list[str]:
        """The groups of options that have the account's password."""
        if not self.account:
            return []
        return [*self.logins, *(["oslo_limit"] if self.limits else [])]


@dataclass(frozen=True, kw_only=True)
class Process(Generic[S]):
    """A kind of pod of a service. It is given what it declares, and nothing else.

    Attributes:
        databases: names of the service's databases that it uses; ``None`` is all.
        queues: likewise of its virtual hosts.
        ceph: likewise of its clients of the storage.
        options: what Jarvis tells this process alone.
        addressed: options in which ``$(POD_ADDRESS)`` is the pod's own address, and ``$(SERVER_NAME)`` its
            server's name.
        shared: the secret that an option has, by the option: a generated one that has this name in each
            service that knows it.
        scratch: GiB of space by the path of a folder for files that go with the pod, from the settings.
        memory: most memory of its containers.
        drain: seconds that work under way has when a pod ends.
    """

    databases: Sequence[str] | None = None
    queues: Sequence[str] | None = None
    ceph: Sequence[str] | None = None
    options: Options = field(default_factory=dict)
    addressed: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)
    scratch: Callable[[S], Mapping[str, int]] | None = None
    memory: Memory = field(default_factory=Memory)
    drain: int = DRAIN


@dataclass(frozen=True, kw_only=True)
class Web(Process[S]):
    """A process that serves HTTP, by uWSGI.

    Attributes:
        module: the WSGI application, such as ``glance.wsgi.api:application``.
        port: TCP port of its pods.
        host: its name in the environment's domain, by the gateway; empty: inside the cluster only.
        health: a path that answers 200.
        patience: seconds without a byte of a response after which the gateway gives up.
        whole: the gateway sends a request once its body, or 16 KiB of it, is there. Not for streams.
        self_links: the only paths at which it is told the prefix that it is found under; all where there are
            none.
    """

    module: str
    port: int
    host: str = ""
    health: str = "/healthcheck"
    patience: int = 60
    whole: bool = False
    self_links: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Worker(Process[S]):
    """A process that takes its work from the queue or the clock.

    Attributes:
        command: what runs in its container, in the foreground, until SIGTERM.
        probe: a command in the container that ends with 0 while the process works.
        period: seconds between two probes.
    """

    command: Sequence[str]
    probe: Sequence[str]
    period: int = 20


@dataclass(frozen=True, kw_only=True)
class Migration:
    """Commands that migrate one schema of a service; each is safe to run any number of times.

    Attributes:
        name: of the schema, where a service has several: of the Job ``<service>-<name>-expand``.
        expand: before the pods are replaced.
        fill: moves data after it.
        contract: after that.
        process: whose options they have; the first one where it is empty.
    """

    expand: Sequence[str]
    fill: Sequence[str] = ()
    contract: Sequence[str] = ()
    process: str = ""
    name: str = ""

    def job(self, phase: str) -> str:
        """The name of the Job of ``phase`` behind the service's."""
        return f"{self.name}-{phase}" if self.name else phase


@dataclass(frozen=True, kw_only=True)
class Schedule(Generic[S]):
    """A command that runs again and again, as a CronJob.

    Attributes:
        at: when, as a line of cron in UTC.
        command: what runs, from the settings; safe to be cut off.
        process: whose options it has; the first one where it is empty.
    """

    at: str
    command: Callable[[S], Sequence[str]]
    process: str = ""


@dataclass(frozen=True, kw_only=True)
class Context(Generic[S]):
    """What the options of a service depend on.

    Attributes:
        env: the environment.
        settings: the operator's, of the service.
        service: its name.
    """

    env: Environment
    settings: S
    service: str

    def ceph_user(self, client: str) -> str:
        """The current user of the storage's ``client``: each rotation of its key is a user of its own."""
        rotation = self.env.rotations.get(f"{client}-ceph", 0)
        return f"{client}.{rotation}" if rotation else client


@dataclass(frozen=True, kw_only=True)
class ServiceDefinition(Generic[S]):
    """A service of OpenStack.

    Attributes:
        name: such as ``glance``: of its image, its section of the configuration and its resources.
        title: such as ``Glance``: of its component's type.
        what: what it is, in two or three words.
        settings: class of its section of the configuration. A process but the first has its settings in a
            field of its name there.
        user: user and group of its image (images/<name>/recipe.toml).
        processes: by name. The objects of the first one are called as the service, those of another
            ``<service>-<process>``.
        databases: those that are its own.
        queues: its virtual hosts of the queue.
        ceph: its clients of the storage.
        cached: groups of options whose ``cache_time`` is set beside the cache's own, for a service that has a
            cache; ``None`` for one that has none.
        keystone: how Keystone knows it.
        migrations: of its schemas, one after the other.
        tasks: commands by name that run once after the schema is there, and that nothing waits for.
        schedules: commands by name that run again and again from then on.
        needs: services without which it is of no use.
        options: what Jarvis tells all its processes, where the operator says nothing else.
    """

    name: str
    title: str
    what: str
    settings: type[S]
    user: int
    processes: Mapping[str, Process[S]]
    keystone: KeystoneUse[S]
    options: Callable[[Context[S]], Options]
    databases: Sequence[Database] = ()
    queues: Sequence[Queue] = ()
    ceph: Sequence[CephUse] = ()
    cached: Sequence[str] | None = None
    migrations: Sequence[Migration] = ()
    tasks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    schedules: Mapping[str, Schedule[S]] = field(default_factory=dict)
    needs: Sequence[str] = ()

    def settings_in(self, env: Environment) -> S:
        """Its settings in ``env``."""
        return cast(S, getattr(env.openstack, self.name))

    def context(self, env: Environment) -> Context[S]:
        """What its options depend on in ``env``."""
        return Context(env=env, settings=self.settings_in(env), service=self.name)

    @property
    def first(self) -> str:
        """The name of its first process."""
        return next(iter(self.processes))

    def known_as(self, process: str) -> str:
        """The name of the objects of ``process``."""
        return self.name if process == self.first else f"{self.name}-{process}"

    def settings_of(self, process: str, settings: S) -> ProcessSettings:
        """The part of ``settings`` that is about ``process``."""
        if process == self.first:
            return settings
        found: ProcessSettings = getattr(settings, process.replace("-", "_"))
        return found

    def scale_of(self, process: str, settings: S) -> ServiceSettings:
        """The part of ``settings`` that is about ``process``, which serves HTTP."""
        return cast(ServiceSettings, self.settings_of(process, settings))

    def webs(self) -> Iterator[tuple[str, Web[S]]]:
        """Its processes that serve HTTP, by their names."""
        for name, process in self.processes.items():
            if isinstance(process, Web):
                yield name, process

    def databases_of(self, process: Process[S]) -> list[Database]:
        """The databases that ``process`` uses."""
        return [one for one in self.databases if process.databases is None or one.name in process.databases]

    def queues_of(self, process: Process[S]) -> list[Queue]:
        """The virtual hosts that ``process`` uses."""
        return [one for one in self.queues if process.queues is None or one.name in process.queues]

    def ceph_of(self, process: Process[S]) -> list[CephUse]:
        """The clients of the storage that ``process`` uses."""
        return [one for one in self.ceph if process.ceph is None or one.client in process.ceph]

    def _settings_type(self, process: str) -> type[Any]:
        if process == self.first:
            return self.settings
        found = self.settings.model_fields.get(process.replace("-", "_"))
        annotation = found.annotation if found else None
        return annotation if isinstance(annotation, type) else type(None)

    def __post_init__(self) -> None:
        """Holds what processes and accounts name against what the service has.

        Raises:
            ValueError: one names what there is not, a process has two URLs for one option or no settings that
                fit it, or there is no process.
        """
        if not self.processes:
            raise ValueError(f"{self.name} has no process")
        for kind in (self.databases, self.queues):
            for one in kind:
                for each in one.reaches:
                    if each == one.name or each not in [other.name for other in kind]:
                        raise ValueError(f"{self.name}: {one.name} reaches {each}, no other one of it")
        for name, process in self.processes.items():
            scale = ServiceSettings if isinstance(process, Web) else ProcessSettings
            if not issubclass(self._settings_type(name), scale):
                raise ValueError(f"{self.name}: settings of its process {name} are no {scale.__name__}")
            for what, used, known in (
                ("database", process.databases, [one.name for one in self.databases]),
                ("queue", process.queues, [one.name for one in self.queues]),
                ("client of the storage", process.ceph, [one.client for one in self.ceph]),
            ):
                for each in used or ():
                    if each not in known:
                        raise ValueError(f"{self.name}: its process {name} uses {each}, no {what} of it")
            urls = [one.option for one in self.databases_of(process)]
            urls += [one.option for one in self.queues_of(process)]
            for option in urls:
                if urls.count(option) > 1:
                    raise ValueError(f"{self.name}: its process {name} has several URLs for {option}")


AnyService = ServiceDefinition[Any]
