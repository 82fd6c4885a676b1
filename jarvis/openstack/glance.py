"""Glance, the image service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import pulumi

from jarvis.config import Environment
from jarvis.config.openstack import GlanceSettings as Settings
from jarvis.config.types import Option
from jarvis.core.component import Component
from jarvis.gateway import Route
from jarvis.gateway.http import route_url
from jarvis.openstack.jobs import Task, TaskArgs
from jarvis.openstack.options import OptionList
from jarvis.openstack.platform import Platform
from jarvis.openstack.pods import Memory
from jarvis.openstack.registration import Administrator, account_secrets
from jarvis.openstack.service import Identity, Service, ServiceArgs, merged_options


class RbdClient(Protocol):
    """By whom images are kept: ``user`` of Ceph, the ``keyrings`` by user, and its ``config``, as texts."""

    @property
    def user(self) -> str: ...
    @property
    def keyrings(self) -> Mapping[str, pulumi.Output[str]]: ...
    @property
    def config(self) -> pulumi.Output[str]: ...


PORT = 9292
CLIENT = "glance"
POOL = "images"
# Seconds that an upload, a download or an import has to end when its pod is replaced.
DRAIN = 1200
_CEPH = "/etc/ceph"
_SCRATCH = "/var/lib/glance"
# What is staged for an import lies in one pod: another that is asked to import it hands the request on.
_ADDRESSED = {"DEFAULT.worker_self_reference_url": f"http://$(POD_ADDRESS):{PORT}"}


def glance_route(env: Environment) -> Route:
    """Glance behind the gateway. Ceph may take minutes to remove a large image, and Glance is silent then."""
    settings = env.openstack.glance
    return Route(
        name="glance",
        host=f"image.{env.networks.domain}",
        service=f"glance.{env.openstack.namespace}",
        requests=settings.at_once,
        patience=600,
        self_links=["/", "/versions", "/v2", "/v2/"],
    )


def glance_options(settings: Settings, user: str = CLIENT) -> dict[str, Option]:
    """What Jarvis tells Glance, by ``group.option``, where the operator's ``settings`` do not. ``user``: of
    Ceph."""
    return {
        "paste_deploy.flavor": "keystone",
        "DEFAULT.enabled_backends": "rbd:rbd",
        "glance_store.default_backend": "rbd",
        "rbd.rbd_store_pool": POOL,
        "rbd.rbd_store_user": user,
        "rbd.rbd_store_ceph_conf": f"{_CEPH}/ceph.conf",
        "rbd.rbd_store_chunk_size": 8,
        # What an image has of zeros takes no space.
        "rbd.rbd_thin_provisioning": True,
        "DEFAULT.show_multiple_locations": False,
        "DEFAULT.use_keystone_limits": True,
        # By web-download users would have Glance ask for addresses inside.
        "DEFAULT.enabled_import_methods": "[glance-direct]",
        # Ceph clones raw images alone: what is imported becomes one.
        "image_import_opts.image_import_plugins": "[image_conversion]",
        "image_conversion.output_format": "raw",
        # They have a default, which is not read in time.
        "os_glance_staging_store.filesystem_store_datadir": f"{_SCRATCH}/staging",
        "os_glance_tasks_store.filesystem_store_datadir": f"{_SCRATCH}/tasks",
        # Under uWSGI Python does not know its own program, with which qemu-img's limits are set.
        "wsgi.python_interpreter": "/opt/openstack/bin/python3",
    }


def check_glance(env: Environment, known: OptionList) -> None:
    """Raises ``ConfigurationError`` where Glance would not heed an option: before there is any resource."""
    settings = env.openstack.glance
    merged_options(
        "glance",
        known=known,
        settings=settings,
        options=glance_options(settings),
        secrets=[*account_secrets(limits=True), *_ADDRESSED],
    )


@dataclass(frozen=True, kw_only=True)
class GlanceArgs:
    """``platform``: what services share. ``image``: reference of its image. ``known``: its options.
    ``administrator``: of Keystone. ``ceph``: the client by which it keeps images."""

    platform: Platform
    image: pulumi.Input[str]
    known: OptionList
    administrator: Administrator
    ceph: RbdClient


class Glance(Component, token="openstack:Glance"):
    """The image service, on RBD. ``url``: where clients find it. ``service``: its pods."""

    url: str
    service: Service

    def __init__(self, name: str, args: GlanceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env = args.platform.env
        settings = env.openstack.glance
        self.url = route_url(env, glance_route(env).host)
        self.service = Service(
            name,
            ServiceArgs(
                platform=args.platform,
                image=args.image,
                known=args.known,
                settings=settings,
                module="glance.wsgi.api:application",
                port=PORT,
                expand=["glance-manage", "db", "expand"],
                fill=["glance-manage", "db", "migrate"],
                contract=["glance-manage", "db", "contract"],
                options=glance_options(settings, args.ceph.user),
                identity=Identity(
                    administrator=args.administrator,
                    kind="image",
                    url=self.url,
                    limits=settings.quotas.model_dump(),
                ),
                folders={
                    _CEPH: {
                        "ceph.conf": args.ceph.config,
                        # Pods that are still to be replaced see this folder change, and connect anew.
                        **{
                            f"ceph.client.{user}.keyring": keyring
                            for user, keyring in args.ceph.keyrings.items()
                        },
                    }
                },
                scratch={_SCRATCH: settings.staging_gib},
                addressed=_ADDRESSED,
                memory=Memory(process=128, task=1024),
                drain=DRAIN,
            ),
            self.child(),
        )
        # Definitions of images' properties, which come with Glance. What is missing is added, so that a run
        # that was cut off is finished by the next; what is there stays as it is. No request waits for it.
        Task(
            f"{name}-metadefs",
            TaskArgs(
                platform=args.platform,
                pod=self.service.pod,
                task="metadefs",
                command=["glance-manage", "db", "load_metadefs", "--merge"],
            ),
            self.in_cluster(args.platform.provider, depends_on=[self.service.migrated]),
        )
        self.register_outputs({"url": self.url})
