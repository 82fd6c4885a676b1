"""What was seen, as the document ``docs/reliability.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

GAP_AIM_SECONDS = 10
HEALTH_AIM_SECONDS = 120
KINDS = ("token", "validation", "write", "upload", "download")


def line(row: Mapping[str, Any]) -> list[str]:
    """The cells of one fault."""
    kinds = row["kinds"]
    gaps = [f"{kinds[kind]['longest_gap_seconds']:.1f} s" if kind in kinds else "" for kind in KINDS]
    health = "never" if row["health_seconds"] is None else f"{row['health_seconds']:.0f} s"
    return [
        row["title"],
        str(sum(kind["sent"] for kind in kinds.values())),
        str(sum(kind["failed"] for kind in kinds.values())),
        *gaps,
        f"{len(row['lost'])} of {row['acknowledged']}",
        health,
        aims(row),
    ]


def _titled(row: Mapping[str, Any], commit: str) -> str:
    """Its title, and where it was measured, if that is not where the last ones were."""
    title, measured = str(row["title"]), row.get("commit", commit)
    return title if measured == commit else f"{title} (at {measured})"


def aims(row: Mapping[str, Any]) -> str:
    """Whether the aims for the loss of one server were met; nothing for other faults."""
    if not row["one_server"]:
        return ""
    gap = max(kind["longest_gap_seconds"] for kind in row["kinds"].values()) <= GAP_AIM_SECONDS
    health = row["health_seconds"] is not None and row["health_seconds"] <= HEALTH_AIM_SECONDS
    return f"gap {'met' if gap else 'missed'}, health {'met' if health else 'missed'}"


def failures(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    """For each fault what the failed requests were answered with."""
    for row in rows:
        told = [
            f"{kind}: {count} x {problem}"
            for kind, summary in row["kinds"].items()
            for problem, count in summary["failures"].items()
        ]
        if told or row["unwell"]:
            yield f"- {row['title']}: {'; '.join([*told, *row['unwell']])}"


def markdown(figures: Mapping[str, Any]) -> str:
    """The whole document."""
    machine, rows = figures["machine"], figures["faults"]
    lines = [
        "# Reliability",
        "",
        "Written by `python -m tests.faults table >docs/reliability.md` from the last `make test-faults`."
        " Times are measured, never asserted; that nothing acknowledged is lost, and that all heals without"
        " a hand, is.",
        "",
        f"{machine['system']}, kernel {machine['kernel']}, {machine['cores']} cores,"
        f" {machine['memory_mib']} MiB; the three servers are boxes on that machine and share it with the"
        f" clients. Load of the machine before the first fault: {machine['load']:.1f}. Measured"
        f" {figures['date']}, commit {figures['commit']}.",
        "",
        "Under each fault clients go on at a fixed pace, through the virtual address and with verified TLS:"
        " tokens by password, validations of a token, writes (a credential, created in the database), and"
        " where there is an image service uploads and downloads with their sums. A client waits 5 s for an"
        " answer, and 30 s for that to an upload; who was refused asks again after a second. *Gap* is the"
        " longest time for which somebody had asked and nobody was served; *lost* is what was acknowledged"
        " and could not be read back at the end."
        " *Full health* is counted from the fault, or from the moment in which power was given back or"
        " `pulumi up` typed: all nodes, pods and units, and every member of etcd, the database, the queue and"
        " the storage that there is.",
        "",
        f"Aims for the loss of one server: no gap over {GAP_AIM_SECONDS} s, full health within"
        f" {HEALTH_AIM_SECONDS} s of its return.",
        "",
        "| fault | requests | failed | gap: token | validation | write | upload | download | lost |"
        " full health | aims |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
        *(f"| {' | '.join([_titled(row, figures['commit']), *line(row)[1:]])} |" for row in rows),
    ]
    told = list(failures(rows))
    if told:
        lines += ["", "What failed requests were answered with:", "", *told]
    return "\n".join(lines) + "\n"
