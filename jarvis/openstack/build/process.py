"""One process of a service: its configuration, its pods, and the name that leads to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi

from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import fingerprint, labels, selector
from jarvis.openstack import configuration
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.build.pods import PATIENCE, PodArgs, uwsgi_command, web_template, worker_template
from jarvis.openstack.configuration import encoded, environment, rendered, variable
from jarvis.openstack.model import AnyService, Process, Value, Web, Worker

# Secret files by name, by the path of their folder.
Folders = Mapping[str, Mapping[str, pulumi.Input[str]]]


@dataclass(frozen=True, kw_only=True)
class ProcessArgs:
    """A process of a service.

    Attributes:
        service: the service.
        process: name of the process.
        platform: what services share.
        image: reference of the image.
        options: its plain options, by ``group.option``.
        secrets: its secret ones.
        key: a generated secret among them.
        folders: secret files.
        rings: names of Secrets with keys by the path of their folder; processes read those anew at each use.
    """

    service: AnyService
    process: str
    platform: Platform
    image: pulumi.Input[str]
    options: Mapping[str, Value]
    secrets: Mapping[str, pulumi.Input[str]]
    key: pulumi.Output[str]
    folders: Folders
    rings: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of its objects."""
        return self.service.known_as(self.process)

    @property
    def component(self) -> str:
        """Its name in labels."""
        return "api" if self.process == self.service.first else self.process

    @property
    def about(self) -> Process[Any]:
        """What the service says of it."""
        return self.service.processes[self.process]

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of its objects."""
        return {
            "name": self.name,
            "namespace": self.platform.namespace,
            "labels": labels(self.service.name, self.component, "openstack"),
        }


@dataclass(frozen=True, kw_only=True)
class Configured:
    """The configuration of a process in the cluster.

    Attributes:
        pod: of its Jobs.
        resources: its objects.
        revision: a digest of all that the process reads when it starts.
    """

    pod: PodArgs
    resources: Sequence[pulumi.Resource]
    revision: pulumi.Output[str]


def folder_secret(known_as: str, path: str) -> str:
    """The name of the Secret whose keys a process finds as files.

    Args:
        known_as: the name of the process's objects.
        path: the folder.
    """
    return f"{known_as}-{path.rpartition('/')[2]}"


def configure(owner: Component, args: ProcessArgs) -> Configured:
    """Makes the objects with the configuration of a process, as children of ``owner``."""
    name, platform, about = args.name, args.platform, args.about
    told = rendered(args.options)
    secrets = pulumi.Output.all(**args.secrets).apply(environment)
    folders = {path: folder_secret(name, path) for path in args.folders}
    own = owner.in_cluster(platform.provider, depends_on=[platform])
    made: list[pulumi.Resource] = [
        objects.ConfigMap(name, metadata=args.metadata, data=told.variables, opts=own),
        objects.Secret(name, metadata=args.metadata, data=secrets.apply(encoded), opts=own),
        *(
            objects.Secret(
                folders[path],
                metadata={**args.metadata, "name": folders[path]},
                data=pulumi.Output.all(**files).apply(encoded),
                opts=own,
            )
            for path, files in args.folders.items()
        ),
    ]
    files = {}
    if told.files:
        files[configuration.folder(args.service.name)] = f"{name}-files"
        made.append(
            objects.ConfigMap(
                f"{name}-files",
                metadata={**args.metadata, "name": f"{name}-files"},
                data=told.files,
                opts=own,
            )
        )
    # The key was generated, so that the digest, which stands in the open, tells nothing of the secrets.
    revision = pulumi.Output.unsecret(
        pulumi.Output.all(
            args.key, secrets, platform.trust, *(pulumi.Output.all(**each) for each in args.folders.values())
        ).apply(
            lambda known: fingerprint(
                [
                    f"{key}={text}"
                    for part in (told.variables, *known[1:], told.files)
                    for key, text in sorted(part.items())
                ],
                key=known[0],
            )
        )
    )
    scratch = about.scratch(args.service.settings_in(platform.env)) if about.scratch else {}
    pod = PodArgs(
        service=args.service.name,
        user=args.service.user,
        image=args.image,
        config_maps=[name],
        secrets=[name],
        files=files,
        folders={**folders, **args.rings},
        scratch=scratch,
        addressed={variable(each): text for each, text in about.addressed.items()},
        memory_mib=about.memory.task,
    )
    return Configured(pod=pod, resources=made, revision=revision)


def roll_out(
    owner: Component, args: ProcessArgs, configured: Configured, after: Sequence[pulumi.Resource]
) -> objects.Deployment:
    """Makes the pods of a process, as children of ``owner``, and what leads to them.

    The name ``<process>.<namespace>.svc`` leads to each ready pod of one that serves HTTP, and ``_http._tcp``
    before it to its port.

    Args:
        owner: the component.
        args: the process.
        configured: its configuration.
        after: what is there before.
    """
    name, platform = args.name, args.platform
    settings = args.service.settings_of(args.process, args.service.settings_in(platform.env))
    own = owner.in_cluster(platform.provider, depends_on=[platform])
    match = selector(args.service.name, args.component)
    if isinstance(args.about, Web):
        objects.Service(
            name,
            metadata={**args.metadata, "annotations": {"pulumi.com/skipAwait": "true"}},
            spec={
                "clusterIP": "None",
                "selector": match,
                "ports": [{"name": "http", "port": args.about.port, "targetPort": "http", "protocol": "TCP"}],
            },
            opts=own,
        )
    seconds = platform.env.patience * PATIENCE
    deployment = objects.Deployment(
        name,
        metadata={**args.metadata, "annotations": {"pulumi.com/timeoutSeconds": str(seconds)}},
        spec={
            "replicas": settings.replicas,
            "revisionHistoryLimit": 3,
            "minReadySeconds": 2,
            "progressDeadlineSeconds": seconds,
            "strategy": {
                "type": "RollingUpdate",
                # One after the other: each takes seconds of CPU to load its program, beside requests.
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "selector": {"matchLabels": match},
            "template": _template(args, configured),
        },
        opts=owner.in_cluster(platform.provider, depends_on=[*after, *configured.resources]),
    )
    objects.PodDisruptionBudget(
        name,
        metadata=args.metadata,
        spec={
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": match},
        },
        opts=own,
    )
    return deployment


def _template(args: ProcessArgs, configured: Configured) -> dict[str, Any]:
    about, patience = args.about, args.platform.env.patience
    if isinstance(about, Web):
        scale = args.service.scale_of(args.process, args.service.settings_in(args.platform.env))
        memory = about.memory.serving(processes=scale.processes, threads=scale.threads)
        return web_template(
            replace(configured.pod, memory_mib=memory),
            component=args.component,
            command=uwsgi_command(
                module=about.module,
                port=about.port,
                processes=scale.processes,
                threads=scale.threads,
                drain=about.drain,
            ),
            port=about.port,
            health=about.health,
            revision=configured.revision,
            drain=about.drain,
            patience=patience,
        )
    if isinstance(about, Worker):
        return worker_template(
            replace(configured.pod, memory_mib=about.memory.serving(processes=1, threads=0)),
            component=args.component,
            command=about.command,
            probe=about.probe,
            period=about.period,
            revision=configured.revision,
            drain=about.drain,
            patience=patience,
        )
    raise TypeError(f"{args.name}: {type(about).__name__} is no process of pods")
