"""A service's account in Keystone, its entry in the catalogue, and its endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes.core import v1 as core

from jarvis.core.component import Component
from jarvis.core.pods import fingerprint, labels
from jarvis.openstack.jobs import Task, TaskArgs
from jarvis.openstack.platform import Platform
from jarvis.openstack.pods import SCRIPTS_FOLDER, PodArgs
from jarvis.openstack.service import encoded
from jarvis.pki import Password, PasswordArgs
from jarvis.remote.script import read_file

# Where services' accounts are, and the role that lets them check the tokens of others and no more.
PROJECT = "service"
ROLE = "service"
_SCRIPT = "register.py"
_KEY = "password"


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """Keystone's administrator: ``user`` of ``project`` at ``url``, whose password is under ``key`` in the
    Secret ``secret``; there once the resources ``ready`` are."""

    url: str
    user: str
    project: str
    secret: str
    key: str
    ready: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class RegistrationArgs:
    """``pod``: the service's, in whose image the script runs. ``kind``: its type in the catalogue, such as
    ``image``. ``url``: its endpoint for everybody. ``rotation``: of its account's password."""

    platform: Platform
    pod: PodArgs
    administrator: Administrator
    kind: str
    url: str
    rotation: int = 0


class Registration(Component, token="openstack:Registration"):
    """Makes a service known to Keystone; it may run any number of times.

    ``password``: of its account, which is called as the service is, secret. ``job``: done when it is known.
    """

    password: pulumi.Output[str]
    job: pulumi.Resource

    def __init__(self, name: str, args: RegistrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        platform, service, who = args.platform, args.pod.service, args.administrator
        self.password = Password(name, PasswordArgs(rotation=args.rotation), self.child()).value
        metadata = {
            "name": name,
            "namespace": platform.namespace,
            "labels": labels(service, "register", "openstack"),
        }
        own = self.in_cluster(platform.provider, depends_on=[platform])
        script = read_file(f"openstack/{_SCRIPT}")
        made = [
            core.ConfigMap(name, metadata=metadata, data={_SCRIPT: script}, opts=own),
            core.Secret(
                name,
                metadata=metadata,
                data=self.password.apply(lambda text: encoded({_KEY: text})),
                opts=own,
            ),
        ]
        revision = pulumi.Output.unsecret(
            self.password.apply(lambda password: fingerprint([script], key=password))
        )
        self.job = Task(
            name,
            TaskArgs(
                platform=platform,
                pod=args.pod,
                task="register",
                command=["python3", f"{SCRIPTS_FOLDER}/{_SCRIPT}"],
                variables={
                    "OS_AUTH_URL": who.url,
                    "OS_CACERT": platform.authority_file("gateway"),
                    "OS_USERNAME": who.user,
                    "OS_PROJECT_NAME": who.project,
                    "REGISTER_NAME": service,
                    "REGISTER_TYPE": args.kind,
                    "REGISTER_URL": args.url,
                    "REGISTER_REGION": platform.env.openstack.region,
                    "REGISTER_PROJECT": PROJECT,
                    "REGISTER_ROLE": ROLE,
                },
                secrets={"OS_PASSWORD": (who.secret, who.key), "REGISTER_PASSWORD": (name, _KEY)},
                scripts=name,
                revision=revision,
            ),
            self.child(),
            after=[*who.ready, *made],
        ).job
        self.register_outputs({})
