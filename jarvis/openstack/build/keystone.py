"""Keystone's own: rings of keys, the administrator, and the first entries of the catalogue of endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pulumi

from jarvis.core import objects
from jarvis.core.pods import fingerprint, labels
from jarvis.openstack.build.jobs import Task, TaskArgs
from jarvis.openstack.build.keys import KeyRing, KeyRingArgs
from jarvis.openstack.build.pods import PodArgs
from jarvis.openstack.build.process import folder_secret
from jarvis.openstack.build.registration import Administrator, Mended, RegistrationArgs, entry
from jarvis.openstack.build.service import Service, ServiceArgs
from jarvis.openstack.caching import FOLDER
from jarvis.openstack.configuration import encoded, variable
from jarvis.openstack.options import own_options
from jarvis.openstack.services.keystone import CREDENTIAL, FERNET, KEYSTONE, lifetime, number
from jarvis.pki import Password, PasswordArgs

_PASSWORD = "OS_BOOTSTRAP_PASSWORD"
# The administrator's role.
_ADMIN = "admin"
# Keystone keeps three credential keys and no more (keystone.credential.providers.fernet).
_CREDENTIAL_KEYS = 3


class Keystone(Service):
    """The identity service, with the administrator and the catalogue's first entries.

    Attributes:
        admin_password: secret.
        administrator: how other services' Jobs become known to it.
    """

    administrator: Administrator
    admin_password: pulumi.Output[str]

    def completed(self, args: ServiceArgs) -> ServiceArgs:
        """``args`` with its rings of keys and its cache."""
        self._rings = self._make_rings(args)
        return super().completed(replace(args, rings=self._rings))

    def finish(self, args: ServiceArgs) -> None:
        """Makes the administrator, and puts right what was found to differ of its entry."""
        name, platform = args.service.name, args.platform
        settings = KEYSTONE.settings_in(platform.env)
        bootstrap = self._bootstrap(args, [ring.ready for ring in self._rings.values()])
        self.ready = [*self.ready, bootstrap]
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
            user=args.service.user,
            image=args.image,
            administrator=self.administrator,
            kind=args.service.keystone.kind,
            url=self.url,
        )
        platform.entries.append(entry(registration, own_entry, settings.admin_project))
        if registration in platform.seen:
            Mended(registration, own_entry, self.child())
        self._platform = platform

    def registered(self) -> pulumi.Output[dict[str, Any]]:
        """What it and all services made so far have registered, secret, with the passwords of their accounts.

        The next run looks whether it is still there (``jarvis.drift.registered``).
        """
        platform, who = self._platform, self.administrator
        found: dict[str, Any] = {
            "url": who.url,
            "authority": platform.trust.apply(lambda files: files["gateway.pem"]),
            "region": platform.env.openstack.region,
            "resource": who.secret,
            "admin": {
                "user": who.user,
                "password": self.admin_password,
                "project": who.project,
                "role": _ADMIN,
            },
            "entries": list(platform.entries),
        }
        return pulumi.Output.secret(found)

    def _make_rings(self, args: ServiceArgs) -> Mapping[str, KeyRing]:
        """Its keys, by the path where it reads them."""
        name, service, platform = args.service.name, args.service, args.platform
        settings = KEYSTONE.settings_in(platform.env)
        most = own_options(service, service.first, platform.env)["fernet_tokens.max_active_keys"]
        pod = PodArgs(
            service=name,
            user=service.user,
            image=args.image,
            config_maps=[name],
            secrets=[name],
            # keystone-manage does not start without what its options name.
            folders={FOLDER: folder_secret(name, FOLDER)},
        )
        fernet = KeyRing(
            f"{name}-fernet",
            KeyRingArgs(
                platform=platform,
                pod=pod,
                secret=f"{name}-fernet-keys",
                rotation=settings.fernet_rotation,
                most=number(settings, "fernet_tokens.max_active_keys", int(str(most))),
                lifetime=sum(lifetime(settings)),
            ),
            self.child(),
        )
        credential = KeyRing(
            f"{name}-credential",
            KeyRingArgs(
                platform=platform,
                # keystone-manage wants to see the other ring as well.
                pod=replace(pod, folders={**pod.folders, FERNET: fernet.name}),
                secret=f"{name}-credential-keys",
                rotation=settings.credential_rotation,
                most=_CREDENTIAL_KEYS,
                migrate=["keystone-manage", "credential_migrate"],
                variable=variable("credential.key_repository"),
            ),
            self.child(),
        )
        return {FERNET: fernet, CREDENTIAL: credential}

    def _bootstrap(self, args: ServiceArgs, after: Sequence[pulumi.Resource]) -> Task:
        name, platform, env = args.service.name, args.platform, args.platform.env
        settings = KEYSTONE.settings_in(env)
        self.admin_password = Password(
            f"{name}-admin",
            PasswordArgs(rotation=env.rotations.get(f"{name}-admin", 0)),
            self.child(),
        ).value
        variables = {
            "OS_BOOTSTRAP_USERNAME": settings.admin_user,
            "OS_BOOTSTRAP_PROJECT_NAME": settings.admin_project,
            "OS_BOOTSTRAP_ROLE_NAME": _ADMIN,
            "OS_BOOTSTRAP_SERVICE_NAME": name,
            "OS_BOOTSTRAP_REGION_ID": env.openstack.region,
            **{f"OS_BOOTSTRAP_{kind}_URL": self.url for kind in ("PUBLIC", "INTERNAL", "ADMIN")},
        }
        task = f"{name}-bootstrap"
        secret = objects.Secret(
            task,
            metadata={
                "name": task,
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
            task,
            TaskArgs(
                platform=platform,
                pod=self.processes.pods[args.service.first],
                task="bootstrap",
                command=["keystone-manage", "bootstrap"],
                variables=variables,
                secrets={_PASSWORD: (task, _PASSWORD)},
                revision=revision,
                seen=platform.seen.get(task, ()),
            ),
            self.in_cluster(platform.provider, depends_on=[*self.processes.migrated, secret, *after]),
        )
