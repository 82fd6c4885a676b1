"""Keystone, the identity service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi

from jarvis.config import Environment
from jarvis.config.openstack import KeystoneSettings as Settings
from jarvis.config.types import Option
from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import fingerprint, labels
from jarvis.gateway import Route
from jarvis.gateway.http import route_url
from jarvis.openstack.cache import (
    FOLDER,
    KEPT_SECONDS,
    Cache,
    CacheArgs,
    cache_host,
    cache_options,
)
from jarvis.openstack.config import encoded, variable
from jarvis.openstack.jobs import Task, TaskArgs
from jarvis.openstack.keys import SCHEDULES, KeyRing, KeyRingArgs, max_active_keys
from jarvis.openstack.options import OptionList
from jarvis.openstack.platform import Platform
from jarvis.openstack.pods import Memory, PodArgs
from jarvis.openstack.registration import Administrator, Mended, RegistrationArgs, entry
from jarvis.openstack.service import Service, ServiceArgs, folder_secret, merged_options
from jarvis.pki import Password, PasswordArgs

PORT = 5000
# Keystone's own defaults, in seconds (its reference, section [token]).
EXPIRATION = 3600
ALLOW_EXPIRED_WINDOW = 172_800
_PASSWORD = "OS_BOOTSTRAP_PASSWORD"
# The administrator's role.
_ADMIN = "admin"
_FERNET = "/etc/keystone/fernet-keys"
_CREDENTIAL = "/etc/keystone/credential-keys"
# Keystone keeps three credential keys and no more (keystone.credential.providers.fernet).
_CREDENTIAL_KEYS = 3
# Keystone's own list, and one more: at each token it would warn that its keys' folder is readable by others.
# A Secret's folder always is, inside a container where there are no others; the keys themselves are not.
_LOG_LEVELS = (
    "amqp=WARN",
    "amqplib=WARN",
    "sqlalchemy=WARN",
    "oslo.messaging=INFO",
    "oslo_messaging=INFO",
    "iso8601=WARN",
    "requests.packages.urllib3.connectionpool=WARN",
    "urllib3.connectionpool=WARN",
    "routes.middleware=WARN",
    "stevedore=WARN",
    "dogpile=INFO",
    "oslo.cache=INFO",
    "keystone.common.fernet_utils=ERROR",
)


def keystone_route(env: Environment) -> Route:
    """Keystone behind the gateway."""
    return Route(
        name="keystone",
        host=f"identity.{env.networks.domain}",
        service=f"keystone.{env.openstack.namespace}",
        requests=env.openstack.keystone.at_once,
        whole=True,
    )


def keystone_options(env: Environment, name: str) -> dict[str, Option]:
    """What Jarvis tells the Keystone called ``name``, by ``group.option``, where the operator's settings do
    not."""
    settings = env.openstack.keystone
    expiration, window = _lifetime(settings)
    _, rotation = SCHEDULES[settings.fernet_rotation]
    keys = max_active_keys(expiration=expiration, allow_expired_window=window, rotation=rotation)
    return {
        "DEFAULT.default_log_levels": ",".join(_LOG_LEVELS),
        # bcrypt reads no more of a password, and Keystone would say so at each.
        "identity.max_password_length": 72,
        "fernet_tokens.key_repository": _FERNET,
        "fernet_tokens.max_active_keys": keys,
        # Receipts of a half-done authentication are encrypted by the same ring.
        "fernet_receipts.key_repository": _FERNET,
        "fernet_receipts.max_active_keys": keys,
        "credential.key_repository": _CREDENTIAL,
        **cache_options(cache_host(env, name)),
        # These would have a time of their own, of up to an hour.
        **{f"{part}.cache_time": KEPT_SECONDS for part in ("domain_config", "identity", "receipt", "revoke")},
    }


def _lifetime(settings: Settings) -> tuple[int, int]:
    """How long a token may be used, and how long after that a service may still read it, in seconds."""
    return (
        _number(settings, "token.expiration", EXPIRATION),
        _number(settings, "token.allow_expired_window", ALLOW_EXPIRED_WINDOW),
    )


def _number(settings: Settings, name: str, default: int) -> int:
    """The operator's value of an option; the ``default`` too where it is none, which the check then tells."""
    text = str(settings.options.get(name, default))
    return int(text) if text.isdigit() else default


def check_keystone(env: Environment, known: OptionList) -> None:
    """Raises ``ConfigurationError`` where Keystone would not heed an option: before there is any resource."""
    settings = env.openstack.keystone
    options = keystone_options(env, "keystone")
    merged_options("keystone", known=known, settings=settings, options=options)


@dataclass(frozen=True, kw_only=True)
class KeystoneArgs:
    """``platform``: what services share. ``image``: reference of its image, ``cache_image``: of memcached's.
    ``known``: its options."""

    platform: Platform
    image: pulumi.Input[str]
    cache_image: pulumi.Input[str]
    known: OptionList


class Keystone(Component, token="openstack:Keystone"):
    """The identity service, with the administrator and the catalogue's first entries.

    - ``url``: where clients find it, ``/v3`` included. ``admin_password``: secret.
    - ``service``: its pods. ``ready``: the resources after which a token can be issued.
    - ``administrator``: how other services' Jobs become known to it.
    """

    url: str
    administrator: Administrator
    admin_password: pulumi.Output[str]
    service: Service
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: KeystoneArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        platform, env = args.platform, args.platform.env
        settings = env.openstack.keystone
        self.url = f"{route_url(env, keystone_route(env).host)}/v3"
        own = keystone_options(env, name)
        rings = self._rings(name, args, most=int(own["fernet_tokens.max_active_keys"]))
        cache = Cache(
            f"{name}-cache",
            CacheArgs(platform=platform, service=name, image=args.cache_image),
            self.child(),
        )
        self.service = Service(
            name,
            ServiceArgs(
                platform=platform,
                image=args.image,
                known=args.known,
                settings=settings,
                module="keystone.wsgi.api:application",
                port=PORT,
                expand=["keystone-manage", "db_sync", "--expand"],
                contract=["keystone-manage", "db_sync", "--contract"],
                options=own,
                folders=cache.folders,
                rings=rings,
                memory=Memory(task=768),
            ),
            self.child(),
        )
        bootstrap = self._bootstrap(name, platform, [ring.ready for ring in rings.values()])
        self.ready = [self.service.deployment, bootstrap]
        self.administrator = Administrator(
            url=self.url,
            user=settings.admin_user,
            project=settings.admin_project,
            secret=f"{name}-bootstrap",
            key=_PASSWORD,
            ready=self.ready,
        )
        registration = f"{name}-register"
        own_entry = RegistrationArgs(
            platform=platform,
            service=name,
            image=args.image,
            administrator=self.administrator,
            kind="identity",
            url=self.url,
        )
        platform.entries.append(entry(registration, own_entry, settings.admin_project))
        if registration in platform.seen:
            Mended(registration, own_entry, self.child())
        self._platform, self._called = platform, name
        self.register_outputs({"url": self.url})

    def registered(self) -> pulumi.Output[dict[str, Any]]:
        """What it and all services made so far have registered, with the passwords of their accounts, secret:
        the next run looks whether it is still there (``jarvis.drift.registered``)."""
        platform, who = self._platform, self.administrator
        found: dict[str, Any] = {
            "url": who.url,
            "authority": platform.trust.apply(lambda files: files["gateway.pem"]),
            "region": platform.env.openstack.region,
            "resource": f"{self._called}-bootstrap",
            "admin": {
                "user": who.user,
                "password": self.admin_password,
                "project": who.project,
                "role": _ADMIN,
            },
            "entries": list(platform.entries),
        }
        return pulumi.Output.secret(found)

    def _rings(self, name: str, args: KeystoneArgs, most: int) -> dict[str, KeyRing]:
        """Its keys, by the path where it reads them."""
        settings = args.platform.env.openstack.keystone
        pod = PodArgs(
            service=name,
            image=args.image,
            config_maps=[name],
            secrets=[name],
            # keystone-manage does not start without what its options name.
            folders={FOLDER: folder_secret(name, FOLDER)},
        )
        fernet = KeyRing(
            f"{name}-fernet",
            KeyRingArgs(
                platform=args.platform,
                pod=pod,
                secret=f"{name}-fernet-keys",
                rotation=settings.fernet_rotation,
                most=_number(settings, "fernet_tokens.max_active_keys", most),
                lifetime=sum(_lifetime(settings)),
            ),
            self.child(),
        )
        credential = KeyRing(
            f"{name}-credential",
            KeyRingArgs(
                platform=args.platform,
                # keystone-manage wants to see the other ring as well.
                pod=replace(pod, folders={**pod.folders, _FERNET: fernet.name}),
                secret=f"{name}-credential-keys",
                rotation=settings.credential_rotation,
                most=_CREDENTIAL_KEYS,
                migrate=["keystone-manage", "credential_migrate"],
                variable=variable("credential.key_repository"),
            ),
            self.child(),
        )
        return {_FERNET: fernet, _CREDENTIAL: credential}

    def _bootstrap(self, name: str, platform: Platform, after: Sequence[pulumi.Resource]) -> Task:
        env = platform.env
        settings = env.openstack.keystone
        self.admin_password = Password(
            f"{name}-admin",
            PasswordArgs(rotation=env.rotations.get(f"{name}-admin", 0)),
            self.child(),
        ).value
        variables = {
            "OS_BOOTSTRAP_USERNAME": settings.admin_user,
            "OS_BOOTSTRAP_PROJECT_NAME": settings.admin_project,
            "OS_BOOTSTRAP_ROLE_NAME": _ADMIN,
            "OS_BOOTSTRAP_SERVICE_NAME": "keystone",
            "OS_BOOTSTRAP_REGION_ID": env.openstack.region,
            **{f"OS_BOOTSTRAP_{kind}_URL": self.url for kind in ("PUBLIC", "INTERNAL", "ADMIN")},
        }
        secret = objects.Secret(
            f"{name}-bootstrap",
            metadata={
                "name": f"{name}-bootstrap",
                "namespace": platform.namespace,
                "labels": labels(name, "bootstrap", "openstack"),
            },
            data=self.admin_password.apply(lambda text: encoded({_PASSWORD: text})),
            opts=self.in_cluster(platform.provider, depends_on=[platform]),
        )
        revision = pulumi.Output.unsecret(
            self.admin_password.apply(lambda password: fingerprint(["admin"], key=password))
        )
        return Task(
            f"{name}-bootstrap",
            TaskArgs(
                platform=platform,
                pod=self.service.pod,
                task="bootstrap",
                command=["keystone-manage", "bootstrap"],
                variables=variables,
                secrets={_PASSWORD: (f"{name}-bootstrap", _PASSWORD)},
                revision=revision,
                seen=platform.seen.get(f"{name}-bootstrap", ()),
            ),
            self.in_cluster(platform.provider, depends_on=[self.service.migrated, secret, *after]),
        )
