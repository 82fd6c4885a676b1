"""Rings of symmetric keys, in the form that Keystone reads: a folder of files named by numbers.

They are made and rotated in the cluster (``tasks/rotate_keys.py``), and are in no state:
docs/decisions/020-key-rotation.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pulumi

from jarvis.config.service import RotationSchedule
from jarvis.core import objects
from jarvis.core.component import Component
from jarvis.core.pods import labels
from jarvis.core.safety import guard
from jarvis.core.text import read_beside
from jarvis.openstack.build.jobs import Task, TaskArgs
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.build.pods import ACCOUNT_FOLDER, SCRIPTS_FOLDER, PodArgs, job_template
from jarvis.openstack.rings import SCHEDULES

# Seconds until every pod has a changed Secret: kubelet looks at a pod's volumes every 60 s and up to half of
# that more (kubelet's syncFrequency and its jitter), and then some.
SETTLE = 120
# Seconds after which a rotation that does not succeed is given up; the next one is due later than that.
_PATIENCE = 3600
_SCRIPT = "rotate_keys.py"


@dataclass(frozen=True, kw_only=True)
class KeyRingArgs:
    """A ring of keys.

    Attributes:
        platform: what services share.
        pod: of the service that reads it, whose environment a rotation has if it is to ``migrate``.
        secret: name of the Secret.
        rotation: how often.
        most: beyond so many keys go those with which nothing was encrypted within ``lifetime``.
        lifetime: seconds.
        migrate: a command that encrypts all anew with the ring in the folder that ``variable`` names.
        variable: of the environment.
    """

    platform: Platform
    pod: PodArgs
    secret: str
    rotation: RotationSchedule
    most: int
    lifetime: int = 0
    migrate: Sequence[str] = ()
    variable: str = ""


class KeyRing(Component, token="openstack:KeyRing"):
    """A Secret of Fernet keys that a Job fills once and a CronJob rotates.

    Both may read and replace this one Secret, and nothing else.

    Attributes:
        name: of the Secret.
        secret: the resource.
        ready: the resource after which there are keys.
    """

    name: str
    secret: objects.Secret
    ready: pulumi.Resource

    def __init__(self, name: str, args: KeyRingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        platform, self.name = args.platform, args.secret
        metadata = {
            "name": name,
            "namespace": platform.namespace,
            "labels": labels(args.pod.service, "keys", "openstack"),
        }
        own = self.in_cluster(platform.provider, depends_on=[platform])
        self.secret = objects.Secret(
            args.secret,
            metadata={
                **metadata,
                "name": args.secret,
                "labels": labels(args.pod.service, "api", "openstack"),
            },
            # Its data is the CronJob's. Where a former version gave some, that stays until it is rotated.
            opts=self.in_cluster(
                platform.provider,
                depends_on=[platform],
                ignore_changes=["data"],
                protect=guard(args.secret, f"the keys in the Secret {args.secret}"),
            ),
        )
        made = [
            objects.ConfigMap(
                name, metadata=metadata, data={_SCRIPT: read_beside(__file__, f"tasks/{_SCRIPT}")}, opts=own
            )
        ]
        access = self._access(name, metadata, args)
        schedule, _ = SCHEDULES[args.rotation]
        pod = replace(args.pod, account=name)
        access_to = {
            "RING_API": "https://kubernetes.default.svc",
            "RING_ACCOUNT": ACCOUNT_FOLDER,
            "RING_NAMESPACE": platform.namespace,
            "RING_NAME": args.secret,
        }
        variables = {
            **access_to,
            "RING_MOST": str(args.most),
            # So long a pod that does not know of a rotation yet goes on with the key before.
            "RING_LIFETIME": str(args.lifetime + SETTLE),
            "RING_SETTLE": str(SETTLE),
            "RING_MIGRATE": json.dumps(list(args.migrate)),
            **({"RING_VARIABLE": args.variable} if args.migrate else {}),
        }
        # It needs nothing of the service, whose schema is migrated meanwhile.
        alone = replace(pod, config_maps=[], secrets=[], folders={}, memory_mib=128)
        self.ready = Task(
            f"{name}-create",
            TaskArgs(
                platform=platform,
                pod=alone,
                task="create-keys",
                command=["python3", f"{SCRIPTS_FOLDER}/{_SCRIPT}", "create"],
                variables=access_to,
                scripts=name,
            ),
            self.in_cluster(platform.provider, depends_on=[self.secret, *made, *access]),
        )
        objects.CronJob(
            name,
            metadata=metadata,
            spec={
                "schedule": schedule,
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": _PATIENCE,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {
                    "spec": {
                        "backoffLimit": 100,
                        "activeDeadlineSeconds": _PATIENCE,
                        "template": job_template(
                            pod if args.migrate else alone,
                            task="rotate-keys",
                            command=["python3", f"{SCRIPTS_FOLDER}/{_SCRIPT}", "rotate"],
                            variables=variables,
                            secrets={},
                            scripts=name,
                            revision=None,
                        ),
                    }
                },
            },
            opts=self.in_cluster(platform.provider, depends_on=[self.ready]),
        )
        self.register_outputs({})

    def _access(self, name: str, metadata: Mapping[str, object], args: KeyRingArgs) -> list[pulumi.Resource]:
        """A service account that may read and replace the one Secret."""
        group = "rbac.authorization.k8s.io"
        own = self.in_cluster(args.platform.provider, depends_on=[args.platform])
        return [
            objects.ServiceAccount(
                name,
                metadata=metadata,
                automountServiceAccountToken=False,
                opts=own,
            ),
            objects.Role(
                name,
                metadata=metadata,
                rules=[
                    {
                        "apiGroups": [""],
                        "resources": ["secrets"],
                        "resourceNames": [args.secret],
                        "verbs": ["get", "update"],
                    }
                ],
                opts=own,
            ),
            objects.RoleBinding(
                name,
                metadata=metadata,
                roleRef={"apiGroup": group, "kind": "Role", "name": name},
                subjects=[
                    {"kind": "ServiceAccount", "name": name, "namespace": args.platform.namespace},
                ],
                opts=own,
            ),
        ]
