"""Who is who in a cluster: its authorities, the keys that sign and encrypt, and its own clients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from jarvis.config import Environment
from jarvis.core.component import Component
from jarvis.core.safety import guard
from jarvis.pki import (
    Authority,
    AuthorityArgs,
    Certificate,
    CertificateArgs,
    KeyPair,
    KeyPairArgs,
    RandomKey,
    RandomKeyArgs,
)
from jarvis.pki.period import LEAF_DAYS
from jarvis.remote import File

# The user as which the API server calls kubelets; `access.py` gives it its rights.
KUBELET_CLIENT = "jarvis:kube-apiserver"
FRONT_PROXY_CLIENT = "front-proxy-client"
# Members may do anything, whatever RBAC says, while their certificate lives: the program alone, which makes
# what gives others their rights. https://kubernetes.io/docs/reference/access-authn-authz/rbac
ADMINISTRATORS = "system:masters"


def operators_group(rotation: int) -> str:
    """The group of the operators' certificate, which `access.py` lets do anything: one of its own for each
    ``rotation``, so that those of before have no right any more, though Kubernetes revokes no certificate."""
    return f"jarvis:operators:{rotation}" if rotation else "jarvis:operators"


@dataclass(frozen=True, kw_only=True)
class IdentitiesArgs:
    """``env``: the environment, whose ``rotations`` count by the names below."""

    env: Environment


class Identities(Component, token="kubernetes:Identities"):
    """The authorities of a cluster and what is shared by its servers.

    - ``authority``: signs servers and clients of the Kubernetes API. ``front_proxy``: signs the API server
      as the front of extension API servers. Neither key is ever on a server.
    - ``service_accounts``: the key pair that signs the tokens of service accounts.
    - ``encryption``: the EncryptionConfiguration of Secrets at rest, secret.
    - ``kubelet_client``, ``front_proxy_client``, ``controller_manager``, ``scheduler``, ``proxy``,
      ``health``, ``admin``, ``operator``: certificates of clients. ``health`` has no right but that of every
      client to ask whether an API server is ready. ``admin`` is the program itself. ``operator`` is of the
      group ``operators``.
    """

    def __init__(self, name: str, args: IdentitiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        self._name = name
        self._rotations = args.env.rotations
        self.authority = Authority(
            f"{name}-ca",
            AuthorityArgs(common_name=f"{name}-ca", rotation=self._rotation("ca")),
            self.child(),
        )
        self.front_proxy = Authority(
            f"{name}-front-proxy-ca",
            AuthorityArgs(common_name=f"{name}-front-proxy-ca", rotation=self._rotation("front-proxy-ca")),
            self.child(),
        )
        self.service_accounts = KeyPair(
            f"{name}-service-accounts",
            KeyPairArgs(rotation=self._rotation("service-accounts")),
            self.child(),
        )
        self.encryption = self._encryption()
        self.kubelet_client = self.client("kubelet-client", KUBELET_CLIENT)
        self.front_proxy_client = self.client(
            "front-proxy-client", FRONT_PROXY_CLIENT, authority=self.front_proxy
        )
        self.controller_manager = self.client("controller-manager", "system:kube-controller-manager")
        self.scheduler = self.client("scheduler", "system:kube-scheduler")
        self.proxy = self.client("proxy", "system:kube-proxy")
        self.health = self.client("health", "jarvis:health")
        self.admin = self.client("admin", "jarvis:admin", organizations=[ADMINISTRATORS])
        self.operators = operators_group(self._rotation("operator"))
        self.operator = self.client(
            "operator",
            "jarvis:operator",
            organizations=[self.operators],
            days=args.env.kubernetes.operator_days,
        )
        self.register_outputs({})

    def _rotation(self, item: str) -> int:
        return self._rotations.get(f"{self._name}-{item}", 0)

    def client(
        self,
        item: str,
        user: str,
        *,
        organizations: Sequence[str] = (),
        authority: Authority | None = None,
        days: int = LEAF_DAYS,
    ) -> Certificate:
        """A client's certificate for ``user``, called ``<name>-<item>`` in the stack and in ``rotations``,
        that lives ``days``."""
        return Certificate(
            f"{self._name}-{item}",
            CertificateArgs(
                authority=authority or self.authority,
                common_name=user,
                organizations=organizations,
                rotation=self._rotation(item),
                days=days,
            ),
            self.child(),
        )

    def server(
        self,
        item: str,
        common_name: str,
        dns_names: Sequence[str],
        addresses: Sequence[str],
        *,
        organizations: Sequence[str] = (),
        client: bool = False,
    ) -> Certificate:
        """A server's certificate, called ``<name>-<item>`` in the stack and in ``rotations``."""
        return Certificate(
            f"{self._name}-{item}",
            CertificateArgs(
                authority=self.authority,
                common_name=common_name,
                organizations=organizations,
                dns_names=dns_names,
                addresses=addresses,
                client=client,
                server=True,
                rotation=self._rotation(item),
            ),
            self.child(),
        )

    def _encryption(self) -> pulumi.Output[str]:
        numbers = encryption_key_numbers(self._rotation("encryption"))
        keys = [
            RandomKey(
                f"{self._name}-encryption-{number}",
                RandomKeyArgs(bytes=32),
                self.child(
                    protect=guard(
                        f"{self._name}-encryption-{number}",
                        f"key {number} of those that encrypt Secrets in etcd",
                        f"{self._name}-encryption",
                    )
                ),
            ).value
            for number in numbers
        ]
        return pulumi.Output.secret(
            pulumi.Output.all(*keys).apply(lambda known: encryption_configuration(numbers, known))
        )


def encryption_key_numbers(rotation: int) -> list[int]:
    """The keys that API servers hold, the one that encrypts first.

    API servers change one by one, and each must read what any other has written. The next key is therefore
    there, for reading, before it is the one that encrypts; and no earlier one goes away, since Secrets that
    were not written since still need it.
    """
    return [rotation, rotation + 1, *range(rotation - 1, -1, -1)]


def encryption_configuration(numbers: Sequence[int], keys: Sequence[str]) -> str:
    """The EncryptionConfiguration (JSON is YAML) of Secrets, with ``keys`` of 32 bytes in base64."""
    named = [{"name": f"key-{number}", "secret": key} for number, key in zip(numbers, keys, strict=True)]
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"secretbox": {"keys": named}}]}],
    }
    return json.dumps(document, indent=2)


def credentials(
    folder: str,
    authority: pulumi.Input[str],
    pair: Certificate,
    owner: str = "root:root",
    name: str = "client",
) -> tuple[list[File], list[File]]:
    """The files of a client or server in ``folder``: clear ones (``ca.crt``, ``<name>.crt``) and the secret
    ``<name>.key``, which only ``owner`` can read."""
    clear = [
        File(path=f"{folder}/ca.crt", content=authority),
        File(path=f"{folder}/{name}.crt", content=pair.chain),
    ]
    return clear, [File(path=f"{folder}/{name}.key", content=pair.key, mode="0600", owner=owner)]
