"""What Nova's Jobs do beyond ``nova-manage``; all are safe to run any number of times.

    nova_cells map CELL0 CELL1 VHOST1    tells Nova of its cells: both databases, and the second one's vhost
    nova_cells within CELL1 COMMAND...   runs a command with that cell's database instead of its own
    nova_cells tidy ARCHIVE PURGE        moves aside what was deleted so many days ago, and later removes it;
                                         forgets workers that are no more

Where a cell is, Nova is told by templates, which each process fills in from its own URLs: no password is in
the database, and one that is rotated changes nothing there. ``nova-manage cell_v2 create_cell`` compares the
template with URLs that are filled in: it knows no cell again, and makes another one.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

# The cell that has no hosts, for servers that found none: Nova knows it by this id. The other one has a fixed
# id too, so that it cannot be there twice.
CELL0 = "00000000-0000-0000-0000-000000000000"
CELL1 = "00000000-0000-0000-0000-000000000001"
_DATABASE = "{scheme}://{username}:{password}@{hostname}:{port}/NAME?{query}"
_QUEUE = "{scheme}://{username}:{password}@{hostname}:{port}/NAME"
_URL = "OS_DATABASE__CONNECTION"
# Nova never speaks to the first cell by a queue.
_NO_QUEUE = "none:///"
# Workers are known by their servers, and a roll-out moves them: one that has not spoken for so long is gone.
_SILENT, _WORKERS = datetime.timedelta(days=1), ("nova-conductor", "nova-scheduler")
# What nova-manage ends with where all went well: whether it found nothing, or something.
_ARCHIVED, _PURGED = (0, 1), (0, 3)


def main(words: list[str]) -> int:
    """The program; returns its exit status."""
    command, *rest = words
    if command == "map":
        return map_cells(*rest)
    if command == "within":
        return within(*rest)
    if command == "tidy":
        archive, purge = map(int, rest)
        now = datetime.datetime.now(datetime.UTC)
        forget_lost(now - _SILENT)
        return tidy(archive, purge, now.date())
    raise SystemExit(f"{command} is not map, within or tidy")


def _nova() -> tuple[Any, Any]:
    """A context of Nova's administrator, and Nova's objects."""
    # They change how Python's own modules work, and come first.
    from nova import monkey_patch  # type: ignore[import-not-found]

    monkey_patch.patch(backend="threading")
    from nova import config, context, objects

    config.parse_args([sys.argv[0]])
    objects.register_all()
    return context.get_admin_context(), objects


def map_cells(database0: str, database1: str, vhost1: str) -> int:
    """Makes both cells known, or puts right what is known of them."""
    ctxt, objects = _nova()
    known = {cell.uuid: cell for cell in objects.CellMappingList.get_all(ctxt)}
    for uuid, name, database, queue in (
        (CELL0, "cell0", database0, _NO_QUEUE),
        (CELL1, "cell1", database1, _QUEUE.replace("NAME", vhost1)),
    ):
        cell = known.get(uuid) or objects.CellMapping(ctxt, uuid=uuid)
        cell.name, cell.transport_url = name, queue
        cell.database_connection = _DATABASE.replace("NAME", database)
        if uuid in known:
            cell.save()
        else:
            cell.create()
        print(f"{name} is known")
    return 0


def within(database: str, *words: str) -> int:
    """Runs ``words`` with the URL of ``database``, by the account that the environment has for another one.

    That account reaches the databases of all cells, which migrations of one cell's data ask for.
    """
    url = urlsplit(os.environ[_URL])
    return subprocess.run(
        words, env={**os.environ, _URL: url._replace(path=f"/{database}").geturl()}, check=False
    ).returncode


def forget_lost(before: datetime.datetime) -> None:
    """Forgets conductors and schedulers that spoke last ``before``, in all cells. Hosts are left alone."""
    ctxt, objects = _nova()
    from nova import context
    from nova.db.main import api  # type: ignore[import-not-found]

    for cell in objects.CellMappingList.get_all(ctxt):
        with context.target_cell(ctxt, cell) as within_cell:
            for service in objects.ServiceList.get_all(within_cell):
                spoke = service.last_seen_up or service.created_at
                if service.binary in _WORKERS and spoke and spoke < before:
                    # Not by the object, which would tell it to a queue that this Job does not speak to.
                    api.service_destroy(within_cell, service.id)
                    print(
                        f"{cell.name}: {service.binary} on {service.host} is forgotten: last heard of {spoke}"
                    )


def tidy(archive: int, purge: int, today: datetime.date) -> int:
    """Archives what was deleted ``archive`` days ago, purges what was ``purge`` days ago, in all cells."""
    archived, purged = (
        ["--all-cells", "--before", str(today - datetime.timedelta(days=days))]
        for days in (archive, max(archive, purge))
    )
    # A pause between its batches lets others write.
    archiving = ["archive_deleted_rows", "--until-complete", "--sleep", "1", *archived]
    for words, well in ((archiving, _ARCHIVED), (["purge", *purged], _PURGED)):
        status = subprocess.run(["nova-manage", "db", *words], check=False).returncode
        if status not in well:
            print(f"nova-manage db {words[0]} ended with {status}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
