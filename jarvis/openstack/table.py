"""The table of services in docs/architecture.md."""

from __future__ import annotations

from collections.abc import Iterable

from jarvis.openstack.catalogue import CATALOGUE, DEFAULT
from jarvis.openstack.model import AnyService, Web

_HEAD = ("service", "what it is", "processes", "name", "databases", "vhosts", "pools", "needs")


def service_table() -> str:
    """A line for each service of the catalogue, in Markdown."""
    rows = [_HEAD, ("---",) * len(_HEAD), *map(_row, CATALOGUE)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(service: AnyService) -> tuple[str, ...]:
    processes = (
        f"{name} (port {process.port})" if isinstance(process, Web) else name
        for name, process in service.processes.items()
    )
    return (
        service.title if service.name in DEFAULT else f"{service.title} (off by default)",
        service.what,
        ", ".join(processes),
        _listed(f"{web.host}.<domain>" for _, web in service.webs() if web.host),
        _listed(one.name for one in service.databases),
        _listed(one.name for one in service.queues),
        _listed(pool for use in service.ceph for pool in use.pools),
        _listed(service.needs),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
