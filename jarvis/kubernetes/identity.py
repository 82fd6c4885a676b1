"""Identities of a cluster: authorities, signing and encryption keys, and clients of its own."""

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

# The API servers' user for kubelets. `access.py` gives it its rights.
KUBELET_CLIENT = "jarvis:kube-apiserver"
FRONT_PROXY_CLIENT = "front-proxy-client"
# A group whose members may do anything, whatever RBAC says, while their certificate lives: only this program,
# which makes the objects that give others their rights.
# https://kubernetes.io/docs/reference/access-authn-authz/rbac
ADMINISTRATORS = "system:masters"


def operators_group(rotation: int) -> str:
    """The group of the operators' certificate, which `access.py` lets do anything.

    Each ``rotation`` has a group of its own, so former certificates have no right any more, though Kubernetes
    revokes none.
    """
    return f"jarvis:operators:{rotation}" if rotation else "jarvis:operators"


@dataclass(frozen=True, kw_only=True)
class IdentitiesArgs:
    """The cluster's environment.

    Attributes:
        env: the environment, whose ``rotations`` count these identities by name.
    """

    env: Environment


class Identities(Component, token="kubernetes:Identities"):
    """The authorities of a cluster, and the keys and certificates that its servers share.

    Attributes:
        authority: signs servers and clients of the Kubernetes API. Its key is never on a server.
        front_proxy: signs the API server as the front of extension API servers. Its key is never on a server.
        service_accounts: key pair that signs tokens of service accounts.
        encryption: EncryptionConfiguration of Secrets at rest, secret.
        kubelet_client: client certificate of the API servers, for kubelets.
        front_proxy_client: client certificate of the API servers, for extension API servers.
        controller_manager: client certificate.
        scheduler: client certificate.
        proxy: client certificate of kube-proxy.
        health: client certificate without a right but that of every client, to ask an API server for
            readiness.
        admin: client certificate of this program.
        operators: group of the operators.
        operator: client certificate of that group.
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
        """A client certificate for ``user``.

        Args:
            item: the certificate is called ``<name>-<item>`` in the stack and in ``rotations``.
            user: the common name.
            organizations: groups of the user.
            authority: signs it; the cluster's authority by default.
            days: lifetime.
        """
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
        """A server certificate.

        Args:
            item: the certificate is called ``<name>-<item>`` in the stack and in ``rotations``.
            common_name: the common name.
            dns_names: DNS names of the server.
            addresses: IP addresses of the server.
            organizations: groups, where it is a client too.
            client: it is a client too.
        """
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
    """Numbers of the keys that API servers hold, the one that encrypts first.

    API servers change one by one, and each must read what any other has written. So the next key is there,
    for reading, before it encrypts. Former keys stay: Secrets that were not written since need them.
    """
    return [rotation, rotation + 1, *range(rotation - 1, -1, -1)]


def encryption_configuration(numbers: Sequence[int], keys: Sequence[str]) -> str:
    """The EncryptionConfiguration of Secrets, as JSON, which is YAML.

    Args:
        numbers: numbers of the keys, the one that encrypts first.
        keys: keys of 32 bytes in base64, in the same order.
    """
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
    """The certificate files of a client or server.

    Args:
        folder: folder on the server.
        authority: certificates to trust, in PEM.
        pair: certificate and key.
        owner: ``user:group`` that alone can read the key.
        name: name of the certificate's files.

    Returns:
        Clear files (``ca.crt``, ``<name>.crt``), and the secret one (``<name>.key``).
    """
    clear = [
        File(path=f"{folder}/ca.crt", content=authority),
        File(path=f"{folder}/{name}.crt", content=pair.chain),
    ]
    return clear, [File(path=f"{folder}/{name}.key", content=pair.key, mode="0600", owner=owner)]
