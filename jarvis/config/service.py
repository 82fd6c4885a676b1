"""Settings that services of OpenStack and their processes have in common."""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn

from pydantic import BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from jarvis.config.types import Options, Secret, Section

RotationSchedule = Literal["daily", "weekly", "monthly"]


def _refused(_: object) -> NoReturn:
    raise ValueError(
        "this service has no threads: a request could be judged by the token of another one in the same"
        " process (docs/decisions/029-threads.md); remove it, and raise processes or replicas instead:"
        " each process serves one request at a time"
    )


# Hidden from the editors' schema; an error with the reason where it is set.
_NoThreads = Annotated[SkipJsonSchema[int], BeforeValidator(_refused)]


class ProcessSettings(Section):
    """Settings of one process of a service, such as a scheduler.

    ``options`` are keyed ``group.option`` as in the service's own reference, and are checked against the list
    made from its code. An option that may be given more than once has a list of values. Options that the
    service calls secret belong into ``secret_options``, which Pulumi encrypts.
    """

    replicas: int = Field(default=2, ge=1, le=64)
    options: dict[str, Options] = Field(default_factory=dict)
    secret_options: dict[str, Secret] = Field(
        default_factory=dict, description="options that hold a secret, encrypted by Pulumi"
    )


class ServiceSettings(ProcessSettings):
    """Settings that every OpenStack service has.

    Those of ``ProcessSettings`` are for the process that serves the API; ``options`` and ``secret_options``
    are for all processes of the service. A further process has settings of its own in a field of its name.

    A process serves one request at a time. A service may override ``threads`` by a field that can be set once
    a decision record shows from its code that no two requests share anything (docs/decisions/029-threads.md).
    """

    # A request mostly computes, and waits for the database in between: two processes for each of the two
    # cores of a small server.
    processes: int = Field(default=4, ge=1, le=64, description="uWSGI worker processes of one replica")
    threads: _NoThreads = Field(default=1, exclude=True)

    @property
    def at_once(self) -> int:
        """How many requests the gateway sends to one replica at once.

        The rest is left for probes, so that a busy replica does not look dead: one thread of each process, or
        one process where processes have no threads. A single process serves both.
        """
        left = self.processes if self.threads > 1 else 1
        return max(1, self.processes * self.threads - left)
