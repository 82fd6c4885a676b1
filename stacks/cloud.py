"""A cloud: servers, etcd, Kubernetes, the stateful part, the gateway, and OpenStack's services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi

from jarvis.config import Artifacts, ConfigurationError, Environment, ServerRole
from jarvis.config.rotations import held
from jarvis.config.settings import check_settings
from jarvis.core import objects
from jarvis.core.safety import begin
from jarvis.drift import KEYSTONE as SEEN_IN_KEYSTONE
from jarvis.drift import OPENSTACK as SEEN_IN_OPENSTACK
from jarvis.drift import Drift
from jarvis.etcd import EtcdCluster, EtcdClusterArgs
from jarvis.gateway import HttpGateway, HttpGatewayArgs, in_cluster_names
from jarvis.hosts import Host, HostArgs, LostServer, LostServerArgs, Preflight, PreflightArgs
from jarvis.images import PublishedImages, PublishedImagesArgs, Registry, RegistryArgs
from jarvis.kubernetes import KubernetesCluster, KubernetesClusterArgs
from jarvis.openstack.build.declared import DeclaredObjects, ObjectsArgs
from jarvis.openstack.build.deploy import ServicesArgs, check_services, image_names, make_services
from jarvis.openstack.build.platform import Platform, PlatformArgs
from jarvis.openstack.caching import cache_tcp_routes
from jarvis.openstack.catalogue import enabled
from jarvis.openstack.clouds import clouds_yaml
from jarvis.openstack.declared.catalogue import declared
from jarvis.openstack.declared.content import Contents
from jarvis.openstack.services.keystone import KEYSTONE
from jarvis.openstack.urls import route_names, routes
from jarvis.stateful import (
    Database,
    DatabaseArgs,
    LinkProxies,
    LinkProxiesArgs,
    Queue,
    QueueArgs,
    database_link,
    queue_link,
)
from jarvis.stateful.ceph import Storage, StorageArgs
from jarvis.stateful.link import cluster_name
from stacks.access import FOLDER, AccessFile

# Images of Kubernetes and the gateway.
IMAGES = ("pause", "coredns", "haproxy")
CLOUD = "jarvis"


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """What a stack exports; see ``__main__.py``. ``files``: what leads an operator to it, by file name.
    ``registered``: what is in Keystone, for the next run."""

    api: str
    gateway: dict[str, str]
    kubeconfig: pulumi.Output[str]
    clouds: pulumi.Output[str]
    gateway_authority: pulumi.Output[str]
    storage: dict[str, pulumi.Output[str]]
    files: dict[str, AccessFile]
    registered: pulumi.Output[dict[str, Any]]


def images_of(env: Environment) -> list[str]:
    """The images that a stack of ``env`` needs."""
    return [*IMAGES, *image_names(env)]


def check(env: Environment, artifacts: Artifacts) -> None:
    """Whether ``artifacts`` are those that ``env`` asks for.

    Raises ``ConfigurationError`` listing every version and image that differs or is missing.
    """
    built = artifacts.release.versions
    mistakes = [
        f"  versions.{tool}: {wanted} is asked for, and the host release has {built.get(tool, 'none')}"
        for tool, wanted in env.versions.model_dump().items()
        if built.get(tool) != wanted
    ]
    mistakes += [f"  the image {name} is missing" for name in images_of(env) if name not in artifacts.images]
    if mistakes:
        text = "\n".join(mistakes)
        raise ConfigurationError(
            f"the artifacts do not fit the environment {env.name}; nothing has been changed:\n{text}\n"
            "build them with: make artifacts"
        )


async def build(env: Environment, artifacts: Artifacts, drift: Drift | None = None) -> Cloud:
    """All resources of the environment ``env``, which runs ``artifacts``. ``drift``: of what is deployed.

    Raises ``ConfigurationError`` where they do not go together, before there is any resource, and
    ``SilentError`` where a server, or the API, cannot be asked, before anything changes on any.
    """
    check(env, artifacts)
    check_settings(env, artifacts.release)
    begin(env.safety, [server.name for server in env.lost])
    known = check_services(env, artifacts.images)

    preflight = Preflight("preflight", PreflightArgs(env=env))
    seen = await drift.known() if drift else {}
    if drift and drift.declared:
        drift.declared.check()
    objects.begin(drift.objects if drift else None)
    hosts: dict[str, Host] = {}
    for server in env.present:
        hosts[server.name] = Host(
            server.name,
            HostArgs(
                server=server,
                env=env,
                release=artifacts.release,
                preflight=preflight,
                after=env.first_alone(list(hosts.values())),
                seen={role: one.lines for role, one in seen.get(server.name, {}).items()},
            ),
        )
    for lost in env.lost:
        pulumi.log.warn(
            f"{lost.name} is lost: from its own address nothing lets it in. If it was stolen, raise by one,"
            f" twice, with an up in between: {', '.join(held(env, lost.roles))} (docs/operating.md)"
        )
        LostServer(f"{lost.name}-lost", LostServerArgs(server=lost, survivor=next(iter(hosts.values()))))

    # A member that joins is let in by the others' firewalls first.
    open_to_each_other = pulumi.ResourceOptions(depends_on=[host.base_ready for host in hosts.values()])

    def having(role: ServerRole) -> list[Host]:
        return [hosts[server.name] for server in env.with_role(role)]

    etcd = EtcdCluster("etcd", EtcdClusterArgs(hosts=having(ServerRole.ETCD), env=env), open_to_each_other)
    database = Database(
        "database", DatabaseArgs(hosts=having(ServerRole.DATABASE), env=env), open_to_each_other
    )
    queue = Queue("queue", QueueArgs(hosts=having(ServerRole.QUEUE), env=env), open_to_each_other)
    links = LinkProxies(
        "link",
        LinkProxiesArgs(env=env, hosts=list(hosts.values()), services=[database_link(env), queue_link(env)]),
    )
    storage = Storage("storage", StorageArgs(hosts=having(ServerRole.STORAGE), env=env), open_to_each_other)
    registry = Registry("registry", RegistryArgs(hosts=having(ServerRole.REGISTRY), env=env))
    images = PublishedImages("images", PublishedImagesArgs(images=artifacts.images, registry=registry))
    cluster = KubernetesCluster(
        "kubernetes",
        KubernetesClusterArgs(
            env=env,
            control_plane=having(ServerRole.CONTROL_PLANE),
            nodes=having(ServerRole.WORKER),
            etcd=etcd,
            images={name: images.reference(name) for name in ("pause", "coredns")},
            registry_authority=registry.authority,
            registry_client=registry.client,
            images_ready=images.ready,
            aliases={
                f"{service.name}.{env.networks.domain}": cluster_name(env, service.name)
                for service in links.services
            }
            | in_cluster_names(env, route_names(env)),
        ),
    )
    in_cluster = pulumi.ResourceOptions(depends_on=[*cluster.ready, *images.ready])
    gateway = HttpGateway(
        "gateway",
        HttpGatewayArgs(
            provider=cluster.provider,
            env=env,
            image=images.reference("haproxy"),
            routes=routes(env),
            names=route_names(env),
            tcp_routes=cache_tcp_routes(env),
        ),
        in_cluster,
    )
    # Where a gateway changes the virtual address moves, and who speaks with the API by it is cut off: so
    # nobody does but the gateway itself, which waits for the end of its change.
    in_cluster = pulumi.ResourceOptions(depends_on=[*cluster.ready, *images.ready, gateway.ready])
    platform = Platform(
        "openstack",
        PlatformArgs(
            provider=cluster.provider,
            env=env,
            database=database,
            queue=queue,
            links=links,
            nodes=having(ServerRole.WORKER),
            authorities={"gateway": gateway.authority.certificate},
            seen={job: one.lines for job, one in seen.get(SEEN_IN_KEYSTONE, {}).items()},
        ),
        in_cluster,
    )
    services = make_services(
        ServicesArgs(
            platform=platform,
            storage=storage,
            known=known,
            reference=images.reference,
            after=[*cluster.ready, *images.ready, gateway.ready],
        )
    )
    keystone, settings = services.keystone, KEYSTONE.settings_in(env)
    declarations = declared(env)
    if declarations:
        DeclaredObjects(
            "objects",
            ObjectsArgs(
                declarations=declarations,
                administrator=keystone.administrator,
                password=keystone.admin_password,
                authority=gateway.authority.certificate,
                urls={one.keystone.kind: services.by_name[one.name].url for one in enabled(env)},
                ready={name: one.ready for name, one in services.by_name.items()},
                patience=env.patience,
                server=database.writer,
                contents=Contents(),
                seen={key: one.lines for key, one in seen.get(SEEN_IN_OPENSTACK, {}).items()},
                sent={one.key: drift.declared.sent(one.key) for one in declarations}
                if drift and drift.declared
                else {},
                sending=drift.declared.sending if drift and drift.declared else (),
            ),
        )
    endpoints = {
        one.keystone.kind: f"{gateway.address_urls[one.name]}{one.keystone.path}" for one in enabled(env)
    }

    def clouds(folder: str) -> pulumi.Output[str]:
        """clouds.yaml beside the gateway's authority, both in ``folder``."""
        text: pulumi.Output[str] = keystone.admin_password.apply(
            lambda password: clouds_yaml(
                cloud=CLOUD,
                url=endpoints[KEYSTONE.keystone.kind],
                region=env.openstack.region,
                username=settings.admin_user,
                password=password,
                project=settings.admin_project,
                authority_file=f"{folder}/gateway.pem",
                endpoints=endpoints,
            )
        )
        return pulumi.Output.secret(text)

    authority = gateway.authority.certificate
    return Cloud(
        api=cluster.address,
        gateway=gateway.urls,
        kubeconfig=cluster.kubeconfig,
        clouds=clouds(FOLDER),
        gateway_authority=authority,
        storage={name: pool.health for name, pool in services.pools.items()},
        files={
            "kubeconfig": AccessFile(
                content=lambda _: cluster.kubeconfig, after=[cluster.access.operators_ready]
            ),
            "clouds.yaml": AccessFile(content=clouds, after=keystone.ready),
            "gateway.pem": AccessFile(content=lambda _: authority, after=[gateway.ready]),
        },
        registered=keystone.registered(),
    )
