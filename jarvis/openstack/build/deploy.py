"""All services of an environment, as the catalogue has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pulumi

from jarvis.config import Environment
from jarvis.config.artifacts import Image
from jarvis.core.safety import offer
from jarvis.openstack.build.dropped import Dropped, DroppedArgs
from jarvis.openstack.build.keystone import Keystone
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.build.registration import RegistrationArgs, Unregistered
from jarvis.openstack.build.service import Service, ServiceArgs
from jarvis.openstack.catalogue import enabled, retired, shared_secrets
from jarvis.openstack.data import data_name, data_of, droppable
from jarvis.openstack.model import AnyService
from jarvis.openstack.option_list import OptionList, read_option_list
from jarvis.openstack.options import check_service
from jarvis.openstack.services.keystone import KEYSTONE
from jarvis.openstack.urls import service_url
from jarvis.pki import Password, PasswordArgs
from jarvis.stateful.ceph import CephClient, CephClientArgs, Pool, PoolArgs, Storage


@dataclass(frozen=True, kw_only=True)
class ServicesArgs:
    """The services of an environment.

    Attributes:
        platform: what they share.
        storage: where pools are.
        known: the options that each service has, by its name (see ``check_services``).
        reference: makes the reference of an image of its name.
        after: what is there before any pod.
    """

    platform: Platform
    storage: Storage
    known: Mapping[str, OptionList]
    reference: Callable[[str], str]
    after: Sequence[pulumi.Resource]


@dataclass(frozen=True, kw_only=True)
class Services:
    """The services of an environment.

    Attributes:
        keystone: the identity service, by which all others are found.
        by_name: all of them.
        pools: of the storage, by name.
    """

    keystone: Keystone
    by_name: Mapping[str, Service]
    pools: Mapping[str, Pool]


def image_names(env: Environment) -> list[str]:
    """The images that the services of ``env`` need."""
    services = enabled(env)
    cached = any(one.cached is not None for one in services)
    return [*(["memcached"] if cached else []), *(one.name for one in services)]


def check_services(env: Environment, images: Mapping[str, Image]) -> dict[str, OptionList]:
    """The options that each service of ``env`` has.

    Args:
        env: the environment.
        images: by name.

    Raises:
        ConfigurationError: a service would not heed an option, or its image has no list of them.
    """
    known = {}
    for service in enabled(env):
        known[service.name] = read_option_list(service.name, images[service.name].path)
        check_service(service, env, known[service.name])
    return known


def make_services(args: ServicesArgs) -> Services:
    """Makes all services, Keystone first."""
    env = args.platform.env
    keystone = Keystone(
        KEYSTONE.name, _service_args(args, KEYSTONE), pulumi.ResourceOptions(depends_on=args.after)
    )
    by_name: dict[str, Service] = {KEYSTONE.name: keystone}
    pools: dict[str, Pool] = {}
    shared = {
        name: Password(counter, PasswordArgs(rotation=env.rotations.get(counter, 0))).value
        for name, counter in shared_secrets(env).items()
    }
    for service in enabled(env):
        if service is KEYSTONE:
            continue
        clients = _clients(args, service, pools)
        by_name[service.name] = Service(
            service.name,
            _service_args(args, service, keystone=keystone, clients=clients, shared=shared),
            pulumi.ResourceOptions(depends_on=[*args.after, *clients.values()]),
        )
    for service in retired(env):
        Unregistered(
            f"{service.name}-unregister",
            RegistrationArgs(
                platform=args.platform,
                service=service.name,
                # Its own image need not be there any more.
                user=KEYSTONE.user,
                image=args.reference(KEYSTONE.name),
                administrator=keystone.administrator,
                kind=service.keystone.kind,
                url=service_url(env, service),
            ),
        )
    for service in droppable(env):
        data = data_of(env, service)
        if offer(data_name(service), f"the data of {service.title} ({data.told})"):
            Dropped(data_name(service), DroppedArgs(platform=args.platform, storage=args.storage, data=data))
    return Services(keystone=keystone, by_name=by_name, pools=pools)


def _service_args(
    args: ServicesArgs,
    service: AnyService,
    keystone: Keystone | None = None,
    clients: Mapping[str, CephClient] | None = None,
    shared: Mapping[str, pulumi.Output[str]] | None = None,
) -> ServiceArgs:
    return ServiceArgs(
        service=service,
        platform=args.platform,
        image=args.reference(service.name),
        cache_image=args.reference("memcached"),
        known=args.known[service.name],
        administrator=keystone.administrator if keystone else None,
        ceph=clients or {},
        shared=shared or {},
    )


def _clients(args: ServicesArgs, service: AnyService, pools: dict[str, Pool]) -> dict[str, CephClient]:
    """The clients of the storage that ``service`` has. Pools that no service before had join ``pools``."""
    env, found = args.platform.env, {}
    for use in service.ceph:
        for pool in use.pools:
            if pool not in pools:
                pools[pool] = Pool(f"{pool}-pool", PoolArgs(storage=args.storage, pool=pool))
        counter = f"{use.client}-ceph"
        found[use.client] = CephClient(
            counter,
            CephClientArgs(
                storage=args.storage,
                client=use.client,
                pools=[pools[pool] for pool in use.pools],
                rotation=env.rotations.get(counter, 0),
            ),
        )
    return found
