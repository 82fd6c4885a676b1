"""The registry of container images, one on each server of that role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from jarvis.config import Environment
from jarvis.core.component import Component
from jarvis.core.safety import guard
from jarvis.core.text import fill_beside, read_beside
from jarvis.core.tls import CIPHER_SUITES
from jarvis.pki import Authority, AuthorityArgs, Certificate, CertificateArgs
from jarvis.remote import Directory, File, HostService, HostServiceArgs

if TYPE_CHECKING:
    from jarvis.hosts import Host

# The registry's name for nodes. containerd's hosts.toml lists the servers behind it.
NAME = "registry.jarvis.internal"
DATA = "/var/lib/registry"
_FOLDER = "/etc/registry"


def registry_config(address: str, port: int) -> str:
    """The registry's configuration file (https://distribution.github.io/distribution/about/configuration/).

    Holders of a certificate of its authority may pull and push; nobody else gets an answer.

    Args:
        address: IP address to listen on.
        port: TCP port to listen on.
    """
    return fill_beside(
        __file__,
        "registry.yml",
        lines={"ciphers": "\n".join(f"      - {suite}" for suite in CIPHER_SUITES)},
        address=f"{address}:{port}",
        folder=_FOLDER,
        data=DATA,
    )


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """The servers of the registry.

    Attributes:
        hosts: servers that hold a copy of every image.
        env: the environment.
    """

    hosts: Sequence[Host]
    env: Environment


class Registry(Component, token="images:Registry"):
    """A registry on each of the servers, with TLS and client certificates.

    The registries do not replicate: images are pushed to each of them.

    Attributes:
        authority: signs servers and clients.
        client: certificate for pulling.
        pusher: certificate for pushing.
        endpoints: ``address:port`` by server.
        ready: the registries by server, to depend on.
    """

    authority: Authority
    client: Certificate
    pusher: Certificate
    endpoints: dict[str, str]
    ready: dict[str, HostService]

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        rotations, port = args.env.rotations, args.env.registry.port
        self.authority = Authority(
            f"{name}-authority",
            AuthorityArgs(common_name=f"{name} authority", rotation=rotations.get(f"{name}-authority", 0)),
            self.child(),
        )
        self.client = self._client(f"{name}-client", rotations.get(f"{name}-client", 0))
        self.pusher = self._client(f"{name}-pusher", rotations.get(f"{name}-pusher", 0))
        self.endpoints, self.ready = {}, {}
        for host in args.hosts:
            server = host.server
            member = f"{name}-{server.name}"
            certificate = Certificate(
                member,
                CertificateArgs(
                    authority=self.authority,
                    common_name=server.name,
                    dns_names=[server.name, NAME],
                    addresses=[str(server.address)],
                    client=False,
                    server=True,
                    rotation=rotations.get(member, 0),
                ),
                self.child(),
            )
            self.endpoints[server.name] = f"{server.address}:{port}"
            self.ready[server.name] = self._service(member, host, certificate, port)
        self.register_outputs({"endpoints": self.endpoints})

    def _client(self, name: str, rotation: int) -> Certificate:
        args = CertificateArgs(authority=self.authority, common_name=name, rotation=rotation)
        return Certificate(name, args, self.child())

    def _service(self, name: str, host: Host, certificate: Certificate, port: int) -> HostService:
        def private(path: str, content: pulumi.Input[str]) -> File:
            return File(path=f"{_FOLDER}/{path}", content=content, mode="0400", owner="registry:registry")

        address = str(host.server.address)
        return HostService(
            name,
            "registry",
            HostServiceArgs(
                target=host.target,
                files=[
                    Directory(path=_FOLDER),
                    Directory(path=DATA, mode="0700", owner="registry:registry"),
                    File(path=f"{_FOLDER}/config.yml", content=registry_config(address, port)),
                    File(path=f"{_FOLDER}/authority.crt", content=self.authority.certificate),
                    File(path=f"{_FOLDER}/server.crt", content=certificate.chain),
                    File(
                        path="/etc/systemd/system/jarvis-registry.service",
                        content=read_beside(__file__, "registry.service"),
                    ),
                ],
                secret_files=[private("server.key", certificate.key)],
                units=["jarvis-registry.service"],
                inputs=[host.release],
                # Without a certificate it answers nobody, so all that can be checked from here is that it
                # listens.
                ready=f"exec 3<>/dev/tcp/{address}/{port}",
                purge=[DATA, _FOLDER],
            ),
            self.child(
                depends_on=[host],
                protect=guard(name, f"the registry on {host.server.name}, with its images", host.server.name),
            ),
        )
