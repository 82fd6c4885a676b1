"""A service of OpenStack: what all of them are, so that one more is one short file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pulumi

from jarvis.config.errors import ConfigurationError
from jarvis.config.openstack import ServiceSettings as Settings
from jarvis.config.types import Option
from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import fingerprint, labels, selector
from jarvis.openstack.config import encoded, environment, variable
from jarvis.openstack.jobs import Task, TaskArgs
from jarvis.openstack.keys import KeyRing
from jarvis.openstack.options import OptionList, check_options, check_secrets
from jarvis.openstack.platform import AUTHORITIES_FOLDER, Platform
from jarvis.openstack.pods import DRAIN, PATIENCE, Memory, PodArgs, uwsgi_command, web_template
from jarvis.openstack.registration import (
    Administrator,
    Registration,
    RegistrationArgs,
    account_options,
    account_secrets,
)
from jarvis.stateful import (
    Account,
    AccountArgs,
    Grant,
    GrantArgs,
    QueueAccount,
    QueueAccountArgs,
    Schema,
    SchemaArgs,
)
from jarvis.stateful.database.mariadb import database_url

# What every service is told, by ``group.option``. Logs go to the container's standard output, as JSON.
COMMON: Mapping[str, Option] = {
    # Where there is no other place, oslo.log writes to standard output.
    "DEFAULT.use_stderr": False,
    "DEFAULT.use_json": True,
    # The gateway says what the client asked for (X-Forwarded-*); it alone reaches the pods.
    "oslo_middleware.enable_proxy_headers_parsing": True,
    # Fewer connections than requests at once would queue; the database takes 1000 in all.
    "database.max_pool_size": 5,
    "database.max_overflow": 10,
    # Without the database a request is answered with 503 at once (images/openstack/answering.py). By default
    # a process would try its first connection again and again, and hold its clients up.
    "database.max_retries": 0,
    # The service's own part of the queue: by TLS, in queues of which each server has a copy. Both are off
    # by default.
    "oslo_messaging_rabbit.ssl": True,
    "oslo_messaging_rabbit.ssl_ca_file": f"{AUTHORITIES_FOLDER}/queue.pem",
    "oslo_messaging_rabbit.rabbit_quorum_queue": True,
}
# Secret options that every service is told, by ``group.option``.
_DATABASE, _QUEUE = "database.connection", "DEFAULT.transport_url"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """How a service is known to Keystone: ``administrator`` registers it as ``kind`` at ``url``, with the
    ``limits`` that projects have of it."""

    administrator: Administrator
    kind: str
    url: str
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ServiceArgs:
    """A service.

    - ``platform``: what it shares. ``image``: reference of its image. ``known``: the options that it has.
    - ``settings``: the operator's: replicas, processes, options.
    - ``module``: its WSGI application. ``port``, ``health``: where it answers, and that it does.
    - ``options``: what Jarvis tells it, by ``group.option``, beyond ``COMMON``; the operator's win.
    - ``secrets``: secret options, by ``group.option``; these are not the operator's to set.
    - ``folders``: secret files by name, by the path of their folder. ``rings``: of keys, likewise; the
      processes read those anew at each use.
    - ``expand``, ``contract``: commands that migrate the schema before the pods are replaced, and after;
      ``fill`` moves the data in between.
    - ``identity``: how it is known to Keystone, where it checks tokens; Keystone itself has none.
    - ``scratch``, ``addressed``: see ``PodArgs``; the latter by ``group.option``.
    - ``memory``: what pods and Jobs may use. ``drain``: seconds that requests under way have when a pod ends.
    """

    platform: Platform
    image: pulumi.Input[str]
    known: OptionList
    settings: Settings
    module: str
    port: int
    expand: Sequence[str]
    fill: Sequence[str] = ()
    contract: Sequence[str] = ()
    identity: Identity | None = None
    health: str = "/healthcheck"
    options: Mapping[str, Option] = field(default_factory=dict)
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    folders: Mapping[str, Mapping[str, pulumi.Input[str]]] = field(default_factory=dict)
    rings: Mapping[str, KeyRing] = field(default_factory=dict)
    scratch: Mapping[str, int] = field(default_factory=dict)
    addressed: Mapping[str, str] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    drain: int = DRAIN


def folder_secret(service: str, path: str) -> str:
    """The name of the Secret whose keys the pods of ``service`` find as files in the folder ``path``."""
    return f"{service}-{path.rpartition('/')[2]}"


def merged_options(
    name: str,
    *,
    known: OptionList,
    settings: Settings,
    options: Mapping[str, Option],
    secrets: Collection[str] = (),
) -> dict[str, Option]:
    """The plain options of the service ``name``: the common ones, Jarvis' own ``options``, and those of the
    operator's ``settings``, of which later ones win. ``secrets``: names of the secret options that Jarvis
    sets.

    Raises ``ConfigurationError`` for any that the service does not know, all at once, for a secret one that
    Jarvis sets, and for a secret that stands in the open.
    """
    secret = [_DATABASE, _QUEUE, *secrets]
    taken = sorted(set(secret) & {*settings.options, *settings.secret_options})
    if taken:
        raise ConfigurationError(
            f"openstack.{name}: {', '.join(taken)} is secret and set by Jarvis; remove it"
        )
    check_secrets(name, known, settings.options, settings.secret_options)
    check_options(name, known, dict.fromkeys(settings.secret_options, ""), "secret_options")
    merged = {**COMMON, **options, **settings.options}
    check_options(name, known, {**merged, **dict.fromkeys(secret, "")})
    return merged


class Service(Component, token="openstack:Service"):
    """A database with an account, a part of the queue, and pods that serve HTTP behind a name in DNS.

    The name ``<service>.<namespace>.svc`` leads to each ready pod, and ``_http._tcp`` before it to its port.
    A change replaces the pods one by one, each after its successor is ready; a changed secret is a change.

    - ``pod``: of its Jobs, for further tasks. ``migrated``: the resource after which the schema is there.
    - ``deployment``: the resource after which all pods are ready. ``account``: in the
      database. ``queue``: its vhost.
    - ``registered``: the resource after which Keystone knows it, where it has an ``identity``.
    """

    pod: PodArgs
    account: Account
    queue: QueueAccount
    registered: list[pulumi.Resource]
    migrated: Task
    deployment: objects.Deployment

    def __init__(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        platform, env = args.platform, args.platform.env
        registration, identity = self._registration(name, args)
        self.registered = [registration.task] if registration is not None else []
        known_by: dict[str, pulumi.Input[str]] = (
            dict.fromkeys(
                account_secrets(bool(args.identity and args.identity.limits)), registration.password
            )
            if registration is not None
            else {}
        )
        options = environment(
            merged_options(
                name,
                known=args.known,
                settings=args.settings,
                options={**args.options, **identity},
                secrets=[*args.secrets, *known_by, *args.addressed],
            )
        )
        schema = Schema(f"{name}-schema", SchemaArgs(database=platform.database, schema=name), self.child())
        self.account = Account(
            f"{name}-database",
            AccountArgs(
                database=platform.database,
                user=name,
                rotation=env.rotations.get(f"{name}-database", 0),
            ),
            self.child(),
        )
        grant = Grant(f"{name}-grant", GrantArgs(account=self.account, schema=schema), self.child())
        self.queue = QueueAccount(
            f"{name}-queue",
            QueueAccountArgs(
                queue=platform.queue, service=name, rotation=env.rotations.get(f"{name}-queue", 0)
            ),
            self.child(),
        )
        connection = self.account.password.apply(
            lambda password: database_url(
                user=name,
                password=password,
                host=platform.database.host,
                database=name,
                authority=platform.authority_file("database"),
            )
        )
        told = {
            option: pulumi.Output.secret(text.get_secret_value())
            for option, text in args.settings.secret_options.items()
        }
        secrets = pulumi.Output.all(
            **{_DATABASE: connection, _QUEUE: self.queue.url, **known_by, **args.secrets, **told}
        ).apply(environment)
        folders = {path: folder_secret(name, path) for path in args.folders}

        metadata = {
            "name": name,
            "namespace": platform.namespace,
            "labels": labels(name, "api", "openstack"),
        }
        own = self.in_cluster(platform.provider, depends_on=[platform])
        configured: list[pulumi.Resource] = [
            objects.ConfigMap(name, metadata=metadata, data=options, opts=own),
            objects.Secret(name, metadata=metadata, data=secrets.apply(encoded), opts=own),
            *(
                objects.Secret(
                    folders[path],
                    metadata={**metadata, "name": folders[path]},
                    data=pulumi.Output.all(**files).apply(encoded),
                    opts=own,
                )
                for path, files in args.folders.items()
            ),
        ]
        objects.Service(
            name,
            metadata={**metadata, "annotations": {"pulumi.com/skipAwait": "true"}},
            spec={
                "clusterIP": "None",
                "selector": selector(name, "api"),
                "ports": [{"name": "http", "port": args.port, "targetPort": "http", "protocol": "TCP"}],
            },
            opts=own,
        )
        self.pod = PodArgs(
            service=name,
            image=args.image,
            config_maps=[name],
            secrets=[name],
            folders={**folders, **{path: ring.name for path, ring in args.rings.items()}},
            scratch=args.scratch,
            addressed={variable(each): text for each, text in args.addressed.items()},
            memory_mib=args.memory.task,
        )
        self.migrated = Task(
            f"{name}-expand",
            TaskArgs(platform=platform, pod=self.pod, task="expand", command=args.expand),
            self.in_cluster(
                platform.provider,
                depends_on=[grant, *configured, *(ring.secret for ring in args.rings.values())],
            ),
        )
        # Everything that a process reads when it starts. The key was generated, so that the digest, which
        # stands in the open, tells nothing of the secrets.
        revision = pulumi.Output.unsecret(
            pulumi.Output.all(
                self.account.password,
                secrets,
                platform.trust,
                *(pulumi.Output.all(**files) for files in args.folders.values()),
            ).apply(
                lambda known: fingerprint(
                    [f"{key}={text}" for part in (options, *known[1:]) for key, text in sorted(part.items())],
                    key=known[0],
                )
            )
        )
        patience = platform.env.patience
        self.deployment = objects.Deployment(
            name,
            metadata={**metadata, "annotations": {"pulumi.com/timeoutSeconds": str(patience * PATIENCE)}},
            spec={
                "replicas": args.settings.replicas,
                "revisionHistoryLimit": 3,
                "minReadySeconds": 2,
                "progressDeadlineSeconds": patience * PATIENCE,
                "strategy": {
                    "type": "RollingUpdate",
                    # One after the other: each takes seconds of CPU to load its program, beside requests.
                    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
                },
                "selector": {"matchLabels": selector(name, "api")},
                "template": web_template(
                    replace(
                        self.pod,
                        memory_mib=args.memory.serving(
                            processes=args.settings.processes, threads=args.settings.threads
                        ),
                    ),
                    command=uwsgi_command(
                        module=args.module,
                        port=args.port,
                        processes=args.settings.processes,
                        threads=args.settings.threads,
                        drain=args.drain,
                    ),
                    port=args.port,
                    health=args.health,
                    revision=revision,
                    drain=args.drain,
                    patience=patience,
                ),
            },
            opts=self.in_cluster(
                platform.provider,
                depends_on=[
                    self.migrated,
                    self.queue,
                    *self.registered,
                    *configured,
                    *(ring.ready for ring in args.rings.values()),
                ],
            ),
        )
        objects.PodDisruptionBudget(
            name,
            metadata=metadata,
            spec={
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
                "selector": {"matchLabels": selector(name, "api")},
            },
            opts=own,
        )
        before: pulumi.Resource = self.deployment
        for task, command in (("fill", args.fill), ("contract", args.contract)):
            if command:
                before = Task(
                    f"{name}-{task}",
                    TaskArgs(platform=platform, pod=self.pod, task=task, command=command),
                    self.in_cluster(platform.provider, depends_on=[before]),
                )
        self.register_outputs({})

    def _registration(self, name: str, args: ServiceArgs) -> tuple[Registration | None, dict[str, Option]]:
        """Its entry in Keystone, and the options by which it finds Keystone; nothing where it has none."""
        who, env = args.identity, args.platform.env
        if who is None:
            return None, {}
        rotation = env.rotations.get(f"{name}-register", 0)
        registration = Registration(
            f"{name}-register",
            RegistrationArgs(
                platform=args.platform,
                service=name,
                image=args.image,
                administrator=who.administrator,
                kind=who.kind,
                url=who.url,
                limits=who.limits,
                rotation=rotation,
            ),
            self.child(),
        )
        return registration, account_options(
            service=name,
            kind=who.kind,
            url=who.administrator.url,
            region=env.openstack.region,
            authority_file=args.platform.authority_file("gateway"),
            rotation=rotation,
            limits=bool(who.limits),
        )
