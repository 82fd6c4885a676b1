"""How the figures are shown: beside each, what was aimed at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.bench.throughput import CLIENTS


def path_table(path: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A critical path as the lines of a table."""
    yield "| component | step | from | waited | took |"
    yield "|---|---|---:|---:|---:|"
    for leg in path:
        times = " | ".join(f"{leg[key]} s" for key in ("start", "waited", "took"))
        yield f"| {leg['component']} | {leg['name']} | {times} |"


def rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What was measured, the figure, and the aim."""
    first = figures["first_deployment"]
    yield "`pulumi up` on fresh servers to the first token", f"{first['first_token_seconds']:.0f} s", "540 s"
    yield "of that, `pulumi up` itself", f"{first['up_seconds']:.0f} s", ""
    connections = first["ssh_connections"]
    yield (
        f"SSH connections a server in a first deployment, {figures['plugins']} plugins",
        ", ".join(f"{count}" for count in connections.values()),
        "at most 40",
    )
    yield "`pulumi preview`, nothing changed", f"{figures['preview_seconds']:.1f} s", "4 s"
    yield (
        "of that, asking the three servers (against `jarvis:observe: false`)",
        f"{figures['preview_seconds'] - figures['preview_blind_seconds']:.1f} s",
        "1 s",
    )
    many = figures["many"]
    yield (
        f"`pulumi preview` that asks {many['servers']} servers with one role each, nothing changed",
        f"{many['looking_seconds']:.1f} s",
        "4 s",
    )
    yield "`pulumi up`, nothing changed", f"{figures['up_unchanged_seconds']:.1f} s", "8 s"
    yield (
        "the same with `--skip-preview`",
        f"{figures['up_unchanged_skip_preview_seconds']:.1f} s",
        "",
    )
    change = figures["option_change"]
    yield f"one option of {change['service']} changed, until it serves", f"{change['seconds']:.1f} s", "30 s"
    state = figures["state"]
    yield (
        f"state a resource (of {state['resources']} resources)",
        f"{state['bytes_per_resource'] / 1000:.1f} kB",
        "2 kB",
    )
    yield (
        "memory of an idle server",
        ", ".join(f"{each / 2**20:.0f} MiB" for each in figures["idle_memory_bytes"].values()),
        "under 2560 MiB",
    )
    yield from throughput_rows(figures["throughput"])


# Answers a second on the two cores that all three servers share, at least.
_THROUGHPUT_AIMS = {"a token by password": 3, "a validation of a token": 35}


def throughput_rows(throughput: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, str, str]]:
    """What was asked, how often it was answered, and the aim."""
    for what, figure in throughput.items():
        aim = _THROUGHPUT_AIMS.get(what)
        answered = f"{figure['per_second']:.1f} a second, {figure['median_seconds']:.2f} s each"
        yield f"{what}, {CLIENTS} clients at once", answered, f"{aim} a second" if aim else ""


# Jarvis' time as a part of the other tool's, at most.
_PEER_AIMS = {
    "ansible": {"first_seconds": 0.15, "unchanged_seconds": 0.05, "looking_seconds": 0.05},
    "pyinfra": {"first_seconds": 0.5, "unchanged_seconds": 0.2, "looking_seconds": 0.2},
}


def peer_rows(peers: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Tool, seconds of the first run, unchanged, and looking only, and after each what part of it Jarvis
    takes, with the aim."""
    for name, seconds in peers["seconds"].items():
        parts = dict.fromkeys(seconds, "")
        for key, part in peers["ratios"].get(name, {}).items():
            parts[key] = f"{part:.3f} (aim {_PEER_AIMS[name][key]:g})"
        yield name, *(each for key, value in seconds.items() for each in (f"{value:.1f} s", parts[key]))


def virtual_machine(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines on the last `make test-vm`."""
    yield "## One virtual machine as an installer leaves it"
    yield ""
    yield (
        f"`make test-vm`, processor by {found['processor']}, patience {found['patience']}. Begun"
        f" {found['date']},"
        f" commit {found['commit']}, load before the start {found['load']:.1f}."
        f"{'' if found['passed'] else ' **The trial failed or ended early.**'}"
    )
    yield ""
    yield "| what | | took |"
    yield "|---|---|---:|"
    for row in found["steps"]:
        yield f"| {row['what']} | {row['outcome']} | {row['seconds']:.0f} s |"


def markdown(figures: Mapping[str, Any], virtual: Mapping[str, Any] | None = None) -> str:
    """The document: tables of all figures. ``virtual``: of the last test on a virtual machine, if any."""
    machine = figures["machine"]
    lines = [
        "# Figures",
        "",
        "Written by `python -m tests.bench table >docs/figures.md` from the last `make bench`. They are"
        " measured, never asserted.",
        "",
        f"{machine['system']}, kernel {machine['kernel']}, {machine['cores']} cores,"
        f" {machine['memory_mib']} MiB; the three servers are boxes on that machine and share it. Load before"
        f" the start: {machine['load']:.1f}. Tools and images cached. Measured {figures['date']},"
        f" commit {figures['commit']}.",
        "",
        "| what | measured | aim |",
        "|---|---|---|",
        *(f"| {what} | {figure} | {aim} |" for what, figure, aim in rows(figures)),
        "",
        "## Critical path of the first deployment",
        "",
        "Each step waits for the one above it. Times are whole seconds of the engine's log; `waited` is the"
        " time between the end of the step above and the start of this one.",
        "",
        *path_table(figures["first_deployment"]["critical_path"]),
        "",
        "## Critical path of a changed option",
        "",
        f"`{figures['option_change']['option']}` of {figures['option_change']['service']}, one line of the"
        " configuration, by `pulumi up --skip-preview`.",
        "",
        *path_table(figures["option_change"]["critical_path"]),
        "",
        "## The same work by other tools",
        "",
        f"One role of a server ({figures['peers']['files']} files, {figures['peers']['units']} units,"
        f" {figures['peers']['packages']} packages that are there) on the same three servers, one tool after"
        " the other, each on fresh paths. *Unchanged* is an `up` with nothing to do, which compares with the"
        " state and does not look at the servers; Ansible and pyinfra do. *Looking only* changes nothing and"
        " looks at all servers: `pulumi preview`, `ansible-playbook --check`, `pyinfra --dry`.",
        "",
        "| tool | first time | Jarvis takes | unchanged | Jarvis takes | looking only | Jarvis takes |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in peer_rows(figures["peers"])),
        "",
        "## Tools, obtained when nothing was cached",
        "",
        "Builds run side by side on all cores, so that the sum is more than the time that passed.",
        "",
        "| tool | version | from | time |",
        "|---|---|---|---:|",
        *(
            f"| {name} | {tool['version']} | {tool['source']} | {tool['seconds']:.0f} s |"
            for name, tool in figures["tools"].items()
        ),
        *(["", *virtual_machine(virtual)] if virtual else []),
    ]
    return "\n".join(lines) + "\n"


def text(figures: Mapping[str, Any]) -> str:
    """The same for a terminal, in short."""
    lines = [f"{what.replace('`', ''):<66} {figure:>22}   aim {aim}" for what, figure, aim in rows(figures)]
    lines.append("critical path by component:")
    parts = figures["first_deployment"]["critical_path_by_component"]
    lines += [f"  {name:<64} {seconds:>20} s" for name, seconds in parts.items()]
    lines.append("the same role by other tools (first, unchanged, looking only, Jarvis' part of each):")
    lines += [
        f"  {row[0]:<40} {' '.join(f'{each:>18}' for each in row[1:])}" for row in peer_rows(figures["peers"])
    ]
    lines.append("tools, obtained when nothing was cached:")
    lines += [f"  {name:<64} {tool['seconds']:>20.0f} s" for name, tool in figures["tools"].items()]
    return "\n".join(line.removesuffix("   aim ") for line in lines)
