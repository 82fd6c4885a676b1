"""Glance, the image service."""

from __future__ import annotations

from pydantic import Field

from jarvis.config.service import ServiceSettings
from jarvis.config.types import Section
from jarvis.openstack.model import (
    CEPH_FOLDER,
    CephUse,
    Context,
    Database,
    KeystoneUse,
    Memory,
    Migration,
    Options,
    Queue,
    ServiceDefinition,
    Web,
)

_PORT = 9292
_POOL = "images"
_SCRATCH = "/var/lib/glance"


class ImageQuotas(Section):
    """The images that a project may have at most; -1 is no limit.

    These are the defaults in Keystone (``openstack registered limit list``), where a project may be given
    others (``openstack limit create``).
    """

    image_size_total: int = Field(default=1_024_000, ge=-1, description="MiB of all its images")
    image_stage_total: int = Field(default=102_400, ge=-1, description="MiB staged for an import")
    image_count_total: int = Field(default=1000, ge=-1)
    image_count_uploading: int = Field(default=32, ge=-1, description="images uploaded at once")


class GlanceSettings(ServiceSettings):
    """The image service."""

    quotas: ImageQuotas = Field(default_factory=ImageQuotas)
    # Uploads and downloads mostly wait for others, and each occupies a thread while it lasts.
    processes: int = Field(default=2, ge=1, le=64, description="uWSGI worker processes of one replica")
    threads: int = Field(default=16, ge=1, le=256, description="requests at once of one process")
    staging_gib: int = Field(
        default=40, ge=1, description="space of one replica for imports: an image, and what it becomes"
    )


def _options(context: Context[GlanceSettings]) -> Options:
    return {
        "paste_deploy.flavor": "keystone",
        "DEFAULT.enabled_backends": "rbd:rbd",
        "glance_store.default_backend": "rbd",
        "rbd.rbd_store_pool": _POOL,
        "rbd.rbd_store_user": context.ceph_user("glance"),
        "rbd.rbd_store_ceph_conf": f"{CEPH_FOLDER}/ceph.conf",
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


GLANCE = ServiceDefinition(
    name="glance",
    title="Glance",
    what="the image service",
    settings=GlanceSettings,
    user=42427,
    processes={
        "api": Web(
            module="glance.wsgi.api:application",
            port=_PORT,
            host="image",
            # Ceph may take minutes to remove a large image, and Glance is silent then.
            patience=600,
            self_links=["/", "/versions", "/v2", "/v2/"],
            # What is staged for an import lies in one pod: another that is asked to import it hands the
            # request on.
            addressed={"DEFAULT.worker_self_reference_url": f"http://$(POD_ADDRESS):{_PORT}"},
            scratch=lambda settings: {_SCRATCH: settings.staging_gib},
            memory=Memory(process=128, task=1024),
            # Uploads, downloads and imports have so long to end when their pod is replaced.
            drain=1200,
        )
    },
    databases=[Database(name="glance")],
    queues=[Queue(name="glance")],
    ceph=[CephUse(client="glance", pools=[_POOL])],
    keystone=KeystoneUse(kind="image", limits=lambda settings: settings.quotas.model_dump()),
    migrations=[
        Migration(
            expand=["glance-manage", "db", "expand"],
            fill=["glance-manage", "db", "migrate"],
            contract=["glance-manage", "db", "contract"],
        )
    ],
    # Definitions of images' properties, which come with Glance. What is missing is added, so that a run that
    # was cut off is finished by the next; what is there stays as it is.
    tasks={"metadefs": ["glance-manage", "db", "load_metadefs", "--merge"]},
    needs=["keystone"],
    options=_options,
)
