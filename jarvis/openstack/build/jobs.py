"""Tasks of a service that run once: migrations of its schema, and what fills it at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from jarvis.core import objects
from jarvis.core.component import merged
from jarvis.core.pods import labels
from jarvis.openstack.build.platform import Platform
from jarvis.openstack.build.pods import PATIENCE, PodArgs, job_template

# Seconds that a run may be late, where the cluster was away at its time; beyond them it is left out.
_LATE = 3600


@dataclass(frozen=True, kw_only=True)
class TaskArgs:
    """What is run.

    Attributes:
        platform: what services share.
        pod: the service's pods.
        task: its name, short.
        command: safe to run any number of times.
        variables: plain environment.
        secrets: secret environment: a Secret and a key in it, by variable.
        scripts: a ConfigMap of scripts, which are then in ``SCRIPTS_FOLDER``.
        revision: the task runs again when this, the image or the command has changed, and only then.
        seen: what was found of what it makes (``jarvis.drift``); it runs again for that too.
    """

    platform: Platform
    pod: PodArgs
    task: str
    command: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    scripts: str | None = None
    revision: pulumi.Input[str] | None = None
    seen: Sequence[str] = ()

    def metadata(self, name: str) -> dict[str, Any]:
        """Metadata of the object that runs it, which is called ``name``."""
        return {
            "name": name,
            "namespace": self.platform.namespace,
            "labels": labels(self.pod.service, self.task, "openstack"),
        }

    def template(self) -> dict[str, Any]:
        """The template of its pods."""
        return job_template(
            self.pod,
            task=self.task,
            command=self.command,
            variables=self.variables,
            secrets=self.secrets,
            scripts=self.scripts,
            revision=self.revision,
            seen=self.seen,
        )


class Scheduled(objects.CronJob):
    """A CronJob, one run of which ends before the next one begins. A run that fails is tried again.

    Args:
        name: of the CronJob.
        args: what is run.
        at: when, as a line of cron in UTC.
        opts: with the cluster's provider, and what is there before.
    """

    def __init__(self, name: str, args: TaskArgs, at: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(
            name,
            metadata=args.metadata(name),
            spec={
                "schedule": at,
                # Else it would be the time of the server that has the controllers.
                "timeZone": "Etc/UTC",
                "concurrencyPolicy": "Forbid",
                "startingDeadlineSeconds": _LATE,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 1,
                "jobTemplate": {
                    "spec": {
                        "backoffLimit": 6,
                        "template": args.template(),
                    }
                },
            },
            opts=opts,
        )


class Task(objects.Job):
    """A Job that is tried again until it succeeds. A changed one replaces the one before.

    Args:
        name: of the Job.
        args: what is run.
        opts: with the cluster's provider, and what is there before.
    """

    def __init__(self, name: str, args: TaskArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__(
            name,
            metadata={
                **args.metadata(name),
                "annotations": {"pulumi.com/timeoutSeconds": str(args.platform.env.patience * PATIENCE)},
            },
            spec={
                "backoffLimit": 10_000,
                "template": args.template(),
            },
            opts=merged(opts, delete_before_replace=True),
        )
