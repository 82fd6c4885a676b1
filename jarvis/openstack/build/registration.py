"""A service's account in Keystone, its entry in the catalogue, and its endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import fingerprint, labels
from jarvis.core.text import read_beside
from jarvis.openstack.accounts import PROJECT, ROLE, account
from jarvis.openstack.build.jobs import Task, TaskArgs
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.build.pods import SCRIPTS_FOLDER, PodArgs
from jarvis.openstack.configuration import encoded
from jarvis.openstack.model import authority_file
from jarvis.pki import Password, PasswordArgs

_SCRIPT, _OUT = "register.py", "unregister.py"
_KEY = "password"


@dataclass(frozen=True, kw_only=True)
class Administrator:
    """Keystone's administrator.

    Attributes:
        url: of Keystone, ``/v3`` included.
        user: name.
        project: name of the project in which it has its role.
        secret: name of the Secret with its password.
        key: of the password there.
        ready: the resources after which it can log in.
    """

    url: str
    user: str
    project: str
    secret: str
    key: str
    ready: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class RegistrationArgs:
    """What is registered.

    Attributes:
        platform: what services share.
        service: name of the service.
        user: of its image, in which the script runs.
        image: reference of it.
        administrator: who registers it.
        kind: type in the catalogue of endpoints, such as ``image``.
        url: its endpoint for everybody.
        limits: what each project may have at most, by name.
        rotation: of its account; raised by one, never by more, to make it anew.
    """

    platform: Platform
    service: str
    user: int
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

    Attributes:
        password: of its account (see ``account``), secret.
        ready: the Job after which it is known.
    """

    password: pulumi.Output[str]
    ready: Task

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
        self.ready = _register(
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


class Unregistered(Component, token="openstack:Unregistered"):
    """Takes a service that is turned off out of Keystone; it may run any number of times.

    Its data stays, so it is there for as long as that is.
    """

    def __init__(self, name: str, args: RegistrationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        texts = {each: read_beside(__file__, f"tasks/{each}") for each in (_SCRIPT, _OUT)}
        accounts = " ".join(account(args.service, number) for number in (0, 1))
        _task(
            self,
            name,
            args,
            texts=texts,
            task="unregister",
            script=_OUT,
            variables={"REGISTER_ACCOUNTS": accounts},
            revision=fingerprint(list(texts.values())),
        )
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
    """The Job that runs the script, as a child of ``component``.

    Args:
        component: the parent.
        name: of the Job.
        args: what is registered.
        project: of the service's account.
        variables: plain environment of the script.
        secrets: secret environment: a Secret and a key in it, by variable.
        key: the account's password, where it has one.
        after: what is there before.
    """
    text = read_beside(__file__, f"tasks/{_SCRIPT}")
    limits = json.dumps(dict(sorted(args.limits.items())))
    revision = pulumi.Output.unsecret(
        pulumi.Output.from_input(key).apply(lambda password: fingerprint([text, limits], key=password))
    )
    return _task(
        component,
        name,
        args,
        texts={_SCRIPT: text},
        task="register",
        script=_SCRIPT,
        variables={"REGISTER_PROJECT": project, "REGISTER_LIMITS": limits, **(variables or {})},
        secrets=secrets,
        revision=revision,
        after=after,
    )


def _task(
    component: Component,
    name: str,
    args: RegistrationArgs,
    *,
    texts: Mapping[str, str],
    task: str,
    script: str,
    variables: Mapping[str, str],
    secrets: Mapping[str, tuple[str, str]] | None = None,
    revision: pulumi.Input[str],
    after: Sequence[pulumi.Resource] = (),
) -> Task:
    """A Job that asks Keystone for something as its administrator, as a child of ``component``.

    Args:
        component: the parent.
        name: of the Job, and of the ConfigMap of its scripts.
        args: of which service.
        texts: scripts by name.
        task: its name in labels.
        script: which of them it runs.
        variables: plain environment beyond the administrator's, Keystone's and the service's.
        secrets: secret environment: a Secret and a key in it, by variable.
        revision: a new value runs it again.
        after: what is there before.
    """
    platform, who = args.platform, args.administrator
    scripts = objects.ConfigMap(
        name,
        metadata=_metadata(name, platform, args.service),
        data=texts,
        opts=component.in_cluster(platform.provider, depends_on=[platform]),
    )
    return Task(
        name,
        TaskArgs(
            platform=platform,
            pod=PodArgs(service=args.service, user=args.user, image=args.image, memory_mib=128),
            task=task,
            command=["python3", f"{SCRIPTS_FOLDER}/{script}"],
            variables={
                "OS_AUTH_URL": who.url,
                "OS_CACERT": authority_file("gateway"),
                "OS_USERNAME": who.user,
                "OS_PROJECT_NAME": who.project,
                "REGISTER_NAME": args.service,
                "REGISTER_TYPE": args.kind,
                "REGISTER_URL": args.url,
                "REGISTER_REGION": platform.env.openstack.region,
                **variables,
            },
            secrets={"OS_PASSWORD": (who.secret, who.key), **(secrets or {})},
            scripts=name,
            revision=revision,
            seen=platform.seen.get(name, ()),
        ),
        component.in_cluster(platform.provider, depends_on=[*who.ready, scripts, *after]),
    )
