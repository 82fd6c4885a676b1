"""The tools themselves: ssh-audit, testssl.sh, lynis, etcdctl check perf."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.audits.finding import Finding
from tests.audits.tls import PORTS
from tests.lab.deployment import Cloud

# testssl.sh knows these; what is less is information.
_SEVERE = {"LOW", "MEDIUM", "HIGH", "CRITICAL"}
_MINUTES = 60


def address(cloud: Cloud, server: str) -> str:
    return str(next(each["address"] for each in cloud.facts["servers"] if each["name"] == server))


def ssh_words(cloud: Cloud, server: str, *options: str) -> list[str]:
    """The command line of ssh to ``server``."""
    known_hosts = f"UserKnownHostsFile={cloud.facts['known_hosts_path']}"
    key = cloud.facts["private_key_path"]
    words = ["ssh", "-F", "none", "-i", key, "-o", "BatchMode=yes", "-o", known_hosts, *options]
    return [*words, f"root@{address(cloud, server)}"]


def read_ssh_audit(report: dict[str, Any], subject: str) -> Iterator[Finding]:
    """What ssh-audit's JSON names as a failure or a warning."""
    for kind in ("kex", "key", "enc", "mac"):
        for one in report[kind]:
            for level in ("fail", "warn"):
                for note in one["notes"].get(level, []):
                    yield Finding("ssh-audit", subject, f"{level}: {kind} {one['algorithm']}: {note}")
    for one in report.get("cves", []):
        yield Finding("ssh-audit", subject, f"fail: {one['name']}")
    # What the rate test says is a note, with its measurement.
    for note in report.get("additional_notes", []):
        yield Finding("ssh-audit", subject, "warn: " + re.sub(r"\d+(\.\d+)?", "N", note))


def ssh_audit(cloud: Cloud) -> Iterator[Finding]:
    for server in cloud.servers:
        # Its exit status counts the findings.
        run = subprocess.run(
            [str(Path(sys.executable).with_name("ssh-audit")), "-j", address(cloud, server)],
            capture_output=True,
            text=True,
            timeout=2 * _MINUTES,
        )
        yield from read_ssh_audit(json.loads(run.stdout), "sshd")


@contextmanager
def tunnel(cloud: Cloud, server: str, host: str, port: int) -> Iterator[int]:
    """A port of this machine that leads to ``port`` of ``host`` as ``server`` sees it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        local = free.getsockname()[1]
    process = subprocess.Popen(
        ssh_words(
            cloud, server, "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{local}:{host}:{port}"
        ),
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + _MINUTES
        while True:
            assert process.poll() is None, f"no tunnel to {server}"
            assert time.monotonic() < deadline, f"no tunnel to {server}"
            try:
                socket.create_connection(("127.0.0.1", local), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield local
    finally:
        process.kill()
        process.wait()


def read_testssl(report: list[dict[str, str]], subject: str) -> Iterator[Finding]:
    """What testssl.sh's JSON counts as more than information."""
    for one in report:
        if one["severity"] in _SEVERE:
            yield Finding("testssl.sh", subject, f"{one['severity'].lower()}: {one['id']}: {one['finding']}")


def testssl(cloud: Cloud, folder: Path) -> Iterator[Finding]:
    """Every port of the server that has most roles: the last one, which has the database."""
    server = cloud.servers[-1]
    for port in PORTS:
        subject = f"{port.use}, port {port.port}"
        report = folder / f"testssl-{port.port}.json"
        report.unlink(missing_ok=True)
        starttls = ["--starttls", port.starttls] if port.starttls else []
        with tunnel(cloud, server, port.address(server), port.port) as local:
            subprocess.run(
                [
                    "testssl", "--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1",
                    "--openssl-timeout", "10", "-p", "-s", "-f", "-S", "-U", *starttls,
                    "--jsonfile", str(report), f"127.0.0.1:{local}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=20 * _MINUTES,
            )  # fmt: skip
        if not report.exists():
            yield Finding("testssl.sh", subject, "it said nothing")
            continue
        yield from read_testssl(json.loads(report.read_text(encoding="utf-8")), subject)


def read_lynis(report: str) -> Iterator[Finding]:
    """The warnings and suggestions of lynis' report, ``kind[]=ID|text|details|...`` a line."""
    pattern = r"^(warning|suggestion)\[\]=([^|]+)\|([^|]*)\|([^|]*)"
    for kind, test, text, details in re.findall(pattern, report, re.MULTILINE):
        more = "" if details in ("", "-") else f": {details}"
        yield Finding("lynis", "server", f"{kind}: {test}: {text}{more}")


def lynis(cloud: Cloud) -> Iterator[Finding]:
    """One server stands for all: they are made alike. Nothing is installed there."""
    server, there = cloud.servers[0], "/run/jarvis-lynis"
    packed = subprocess.run(
        ["tar", "-C", "/", "-cz", "usr/sbin/lynis", "usr/share/lynis", "etc/lynis"],
        capture_output=True,
        check=True,
    ).stdout
    unpack = f"rm -rf {there} && mkdir -m 0700 {there} && tar -C {there} -xz"
    sent = subprocess.run([*ssh_words(cloud, server), unpack], input=packed, capture_output=True)
    assert sent.returncode == 0, sent.stderr.decode()
    try:
        report = cloud.ssh(
            server,
            f"rm -f /run/lynis.pid; cd {there}/usr/share/lynis && bash {there}/usr/sbin/lynis audit system"
            f" --quick --quiet --no-colors --plugindir {there}/etc/lynis/plugins"
            f" --profile {there}/etc/lynis/default.prf --logfile {there}/log"
            f" --report-file {there}/report </dev/null >/dev/null 2>&1; cat {there}/report",
        )
    finally:
        cloud.ssh(server, f"rm -rf {there}")
    assert "finish=true" in report, f"lynis did not finish: {report[-500:]}"
    yield from read_lynis(report)


def read_check_perf(said: str) -> Iterator[Finding]:
    """The lines of ``etcdctl check perf`` that failed."""
    for line in said.splitlines():
        if line.strip().startswith("FAIL"):
            yield Finding("etcdctl check perf", "etcd", re.sub(r"[0-9.]+", "N", line.strip()))


def check_perf(cloud: Cloud) -> Iterator[Finding]:
    run = cloud.attempt_ssh(
        cloud.servers[0],
        "set -a; . /etc/etcd/etcdctl.env; set +a; etcdctl check perf --load=s 2>&1 | tr '\\r' '\\n'",
    )
    print(f"    {[line for line in run.stdout.splitlines() if line.startswith(('PASS', 'FAIL'))]}")
    yield from read_check_perf(run.stdout)
