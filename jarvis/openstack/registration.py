"""A service's account in Keystone, its entry in the catalogue, and its endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from jarvis.config.types import Option
from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import fingerprint, labels
from jarvis.core.text import read_beside
from jarvis.openstack.config import encoded
from jarvis.openstack.jobs import Task, TaskArgs
from jarvis.openstack.platform import Platform
from jarvis.openstack.pods import SCRIPTS_FOLDER, PodArgs
from jarvis.pki import Password, PasswordArgs

# Where services' accounts are, and the role that lets them check the tokens of others and no more.
PROJECT = "service"
DOMAIN = "Default"
ROLE = "service"
# Seconds after which a service gives up a question to Keystone: of a gateway that lost its power nothing more
# is heard, and services wait for ever by default. A validation takes a tenth of a second, and seconds where a
# server has just come back and all its processes start at once.
ANSWER_SECONDS = 10
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


def account(service: str, rotation: int) -> str:
    """The account of ``service`` after ``rotation`` rotations."""
    return f"{service}-2" if rotation % 2 else service


def account_options(
    *, service: str, kind: str, url: str, region: str, authority_file: str, rotation: int, limits: bool
) -> dict[str, Option]:
    """How ``service`` is told to check the tokens of others at the Keystone at ``url`` by its account, whose
    password comes by itself (``account_secrets``). ``limits``: whether it asks there for its limits too."""
    login: dict[str, Option] = {
        "auth_type": "password",
        "auth_url": url,
        "cafile": authority_file,
        "region_name": region,
        "username": account(service, rotation),
        "user_domain_name": DOMAIN,
        "project_name": PROJECT,
        "project_domain_name": DOMAIN,
    }
    options: dict[str, Option] = {f"keystone_authtoken.{name}": value for name, value in login.items()}
    options |= {
        "keystone_authtoken.www_authenticate_uri": url,
        "keystone_authtoken.service_type": kind,
        # Of the whole answer, whatever the name says (keystonemiddleware gives it to its session).
        "keystone_authtoken.http_connect_timeout": ANSWER_SECONDS,
        # The default lets every user pose as a service.
        "keystone_authtoken.service_token_roles_required": True,
    }
    if limits:
        options |= {f"oslo_limit.{name}": value for name, value in login.items()}
        options |= {
            "oslo_limit.timeout": ANSWER_SECONDS,
            "oslo_limit.endpoint_service_type": kind,
            "oslo_limit.endpoint_region_name": region,
        }
    return options


def account_secrets(limits: bool) -> list[str]:
    """The options that have the account's password."""
    return ["keystone_authtoken.password", *(["oslo_limit.password"] if limits else [])]


@dataclass(frozen=True, kw_only=True)
class RegistrationArgs:
    """What is registered.

    - ``service``: its name. ``image``: reference of its image, in which the script runs.
    - ``kind``: its type in the catalogue, such as ``image``. ``url``: its endpoint for everybody.
    - ``limits``: what each project may have at most, by name.
    - ``rotation``: of its account; raised by one, never by more, to make it anew."""

    platform: Platform
    service: str
    image: pulumi.Input[str]
    administrator: Administrator
    kind: str
    url: str
    limits: Mapping[str, int] = field(default_factory=dict)
    rotation: int = 0


class Registration(Component, token="openstack:Registration"):
    """Makes a service known to Keystone; it may run any number of times.

    Two accounts take turns, one for each rotation: pods change over one by one, and the account of those that
    still run is not touched. After a theft rotate twice.

    ``password``: of its account (see ``account``), secret. ``task``: done when it is known.
    """

    password: pulumi.Output[str]
    task: Task

    def __init__(self, name: str, args: RegistrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        platform, service = args.platform, args.service
        self.password = Password(name, PasswordArgs(rotation=args.rotation), self.child()).value
        secret = objects.Secret(
            name,
            metadata=_metadata(name, platform, service),
            data=self.password.apply(lambda text: encoded({_KEY: text})),
            opts=self.in_cluster(platform.provider, depends_on=[platform]),
        )
        own = account(service, args.rotation)
        self.task = _register(
            self,
            name,
            args,
            project=PROJECT,
            variables={"REGISTER_ACCOUNT": own, "REGISTER_ROLE": ROLE},
            secrets={"REGISTER_PASSWORD": (name, _KEY)},
            key=self.password,
            after=[secret],
        )
        who = {"user": own, "password": self.password, "project": PROJECT, "role": ROLE}
        platform.entries.append(entry(name, args, PROJECT) | {"account": who})
        self.register_outputs({})


class Mended(Component, token="openstack:Mended"):
    """Keystone's own entry in its catalogue, and the administrator's project, put right by the administrator.

    What makes them (``keystone-manage bootstrap``) renames and enables nothing. It is there once something of
    them was found to differ.
    """

    def __init__(self, name: str, args: RegistrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        _register(self, name, args, project=args.administrator.project)
        self.register_outputs({})


def entry(name: str, args: RegistrationArgs, project: str) -> dict[str, Any]:
    """What the Job called ``name`` registers, for the next run (``jarvis.drift.registered.Entry``)."""
    return {
        "resource": name,
        "name": args.service,
        "kind": args.kind,
        "url": args.url,
        "project": project,
        "limits": dict(sorted(args.limits.items())),
    }


def _metadata(name: str, platform: Platform, service: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": platform.namespace,
        "labels": labels(service, "register", "openstack"),
    }


def _register(
    component: Component,
    name: str,
    args: RegistrationArgs,
    *,
    project: str,
    variables: Mapping[str, str] | None = None,
    secrets: Mapping[str, tuple[str, str]] | None = None,
    key: pulumi.Input[str] = "",
    after: Sequence[pulumi.Resource] = (),
) -> Task:
    """The Job that runs the script, as a child of ``component``. ``variables``, ``secrets``: of the service's
    account, which lies in ``project``; ``key``: its password, where it has one. ``after``: what is there
    before."""
    platform, who = args.platform, args.administrator
    script = read_beside(__file__, f"tasks/{_SCRIPT}")
    scripts = objects.ConfigMap(
        name,
        metadata=_metadata(name, platform, args.service),
        data={_SCRIPT: script},
        opts=component.in_cluster(platform.provider, depends_on=[platform]),
    )
    limits = json.dumps(dict(sorted(args.limits.items())))
    revision = pulumi.Output.unsecret(
        pulumi.Output.from_input(key).apply(lambda password: fingerprint([script, limits], key=password))
    )
    return Task(
        name,
        TaskArgs(
            platform=platform,
            pod=PodArgs(service=args.service, image=args.image, config_maps=[], secrets=[], memory_mib=128),
            task="register",
            command=["python3", f"{SCRIPTS_FOLDER}/{_SCRIPT}"],
            variables={
                "OS_AUTH_URL": who.url,
                "OS_CACERT": platform.authority_file("gateway"),
                "OS_USERNAME": who.user,
                "OS_PROJECT_NAME": who.project,
                "REGISTER_NAME": args.service,
                "REGISTER_TYPE": args.kind,
                "REGISTER_URL": args.url,
                "REGISTER_REGION": platform.env.openstack.region,
                "REGISTER_PROJECT": project,
                "REGISTER_LIMITS": limits,
                **(variables or {}),
            },
            secrets={"OS_PASSWORD": (who.secret, who.key), **(secrets or {})},
            scripts=name,
            revision=revision,
            seen=platform.seen.get(name, ()),
        ),
        component.in_cluster(platform.provider, depends_on=[*who.ready, scripts, *after]),
    )
