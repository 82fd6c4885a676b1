"""What a service keeps for a moment and need not ask its database for: memcached, for that service alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import (
    RESTRICTED_CONTAINER,
    fingerprint,
    labels,
    leave_lost_servers,
    patient,
    restricted_pod,
    selector,
    spread_over_servers,
)
from jarvis.core.tls import OPENSSL_CIPHERS
from jarvis.gateway import gateway_host
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.caching import FOLDER, NUMBERS, cache_host, cache_name
from jarvis.openstack.catalogue import CACHE_PORT as PORT
from jarvis.openstack.configuration import encoded
from jarvis.pki import Authority, AuthorityArgs, Certificate, CertificateArgs

# User and group of the image (images/memcached/recipe.toml).
USER = 42428
# MiB of what is kept; some tokens, users and projects of a few KiB each.
SIZE_MIB = 64
_COMPONENT = "cache"
_NUMBER = "jarvis.internal/cache"


@dataclass(frozen=True, kw_only=True)
class CacheArgs:
    """A cache.

    Attributes:
        platform: what services share.
        service: name of the service whose it is.
        image: reference of memcached's image.
    """

    platform: Platform
    service: str
    image: pulumi.Input[str]


class Cache(Component, token="openstack:Cache"):
    """Two memcached in the cluster, on different servers, for one service.

    They take connections of whoever has a certificate of their own authority: the service alone.
    Connections come through the gateway, which passes them on. One memcached is used, and the other where
    that is gone: what is taken out is taken out for all.

    Attributes:
        folders: secret files by name, by the path where a pod of the service needs them (see
            ``cache_options``).
    """

    folders: Mapping[str, Mapping[str, pulumi.Input[str]]]

    def __init__(self, name: str, args: CacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        platform, env = args.platform, args.platform.env
        known_as = cache_name(args.service)
        authority = Authority(
            name,
            AuthorityArgs(common_name=f"{env.name} {known_as}", rotation=env.rotations.get(name, 0)),
            self.child(),
        )
        rotation = env.rotations.get(f"{name}-certificate", 0)
        server = Certificate(
            f"{name}-server",
            CertificateArgs(
                authority=authority,
                common_name=known_as,
                dns_names=[cache_host(env, args.service)],
                client=False,
                server=True,
                rotation=rotation,
            ),
            self.child(),
        )
        client = Certificate(
            f"{name}-client",
            CertificateArgs(authority=authority, common_name=args.service, rotation=rotation),
            self.child(),
        )
        self.folders = {
            FOLDER: {
                "ca.pem": authority.certificate,
                "client.pem": client.chain,
                "client.key": client.key,
            }
        }
        metadata = {
            "name": known_as,
            "namespace": platform.namespace,
            "labels": labels(args.service, _COMPONENT, "openstack"),
        }
        own = self.in_cluster(platform.provider, depends_on=[platform])
        files = {"ca.pem": authority.certificate, "server.pem": server.chain, "server.key": server.key}
        secret = objects.Secret(
            f"{name}-server",
            metadata={**metadata, "name": f"{known_as}-server"},
            data=pulumi.Output.all(**files).apply(encoded),
            opts=own,
        )
        unwatched = {"annotations": {"pulumi.com/skipAwait": "true"}}
        objects.Service(
            name,
            metadata={**metadata, **unwatched},
            spec={"type": "ExternalName", "externalName": gateway_host(env)},
            opts=own,
        )
        revision = pulumi.Output.all(server.chain, authority.certificate).apply(fingerprint)
        before: list[pulumi.Resource] = [platform, secret]
        for number in NUMBERS:
            one = {**metadata, "name": f"{known_as}-{number}"}
            match = {**selector(args.service, _COMPONENT), _NUMBER: str(number)}
            objects.Service(
                f"{name}-{number}",
                metadata={**one, **unwatched},
                spec={
                    "clusterIP": "None",
                    "selector": match,
                    "ports": [{"name": "tcp", "port": PORT, "targetPort": "memcached", "protocol": "TCP"}],
                },
                opts=own,
            )
            # One after the other, so that a change leaves one of them.
            before = [
                objects.Deployment(
                    f"{name}-{number}",
                    metadata=one,
                    spec=_deployment_spec(args.service, args.image, match, revision, env.patience),
                    opts=self.in_cluster(platform.provider, depends_on=before),
                )
            ]
        self.register_outputs({})


def _deployment_spec(
    service: str,
    image: pulumi.Input[str],
    match: Mapping[str, str],
    revision: pulumi.Input[str],
    patience: int,
) -> dict[str, Any]:
    return {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        # Never two of which some ask the one and some the other.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": match},
        "template": patient(_template(service, image, match, revision), patience),
    }


def _template(
    service: str, image: pulumi.Input[str], match: Mapping[str, str], revision: pulumi.Input[str]
) -> dict[str, Any]:
    known_as = cache_name(service)
    return {
        "metadata": {
            "labels": {**labels(service, _COMPONENT, "openstack"), **match},
            "annotations": {"jarvis.internal/revision": revision},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": restricted_pod(USER),
            "terminationGracePeriodSeconds": 5,
            "tolerations": leave_lost_servers(),
            # Each of the two has a revision of its own.
            "topologySpreadConstraints": spread_over_servers(
                selector(service, _COMPONENT), each_revision=False
            ),
            "containers": [_container(image)],
            "volumes": [
                {"name": "tls", "secret": {"secretName": f"{known_as}-server", "defaultMode": 0o440}}
            ],
        },
    }


def memcached_command() -> list[str]:
    """Command line of memcached, which asks each client for a certificate of the same authority."""
    tls = {
        "ssl_chain_cert": f"{FOLDER}/server.pem",
        "ssl_key": f"{FOLDER}/server.key",
        "ssl_ca_cert": f"{FOLDER}/ca.pem",
        "ssl_ciphers": OPENSSL_CIPHERS,
        # 2: who has no certificate of this authority is not let in (memcached -h).
        "ssl_verify_mode": "2",
    }
    return [
        "/usr/bin/memcached",
        f"--port={PORT}",
        f"--memory-limit={SIZE_MIB}",
        # Threads would wake each other for nothing, and say so at each connection.
        "--threads=1",
        "--enable-ssl",
        f"--extended={','.join(f'{key}={value}' for key, value in tls.items())}",
    ]


def _container(image: pulumi.Input[str]) -> dict[str, object]:
    return {
        "name": _COMPONENT,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": memcached_command(),
        "ports": [{"name": "memcached", "containerPort": PORT, "protocol": "TCP"}],
        "readinessProbe": {"tcpSocket": {"port": "memcached"}, "periodSeconds": 5},
        "livenessProbe": {"tcpSocket": {"port": "memcached"}, "periodSeconds": 20, "failureThreshold": 3},
        "resources": {
            "requests": {"cpu": "20m", "memory": "32Mi"},
            # Beside what is kept, its hash table and its connections.
            "limits": {"memory": f"{SIZE_MIB + 64}Mi"},
        },
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [{"name": "tls", "mountPath": FOLDER, "readOnly": True}],
    }
