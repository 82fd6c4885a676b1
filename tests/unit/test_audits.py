"""What of the auditing tools' reports counts, and that the documents have it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.audits.finding import Explanation, Finding, explanations, markdown, unexplained
from tests.audits.tls import ATTEMPTS, GOOD, PORTS, script
from tests.audits.tools import read_check_perf, read_lynis, read_ssh_audit, read_testssl

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "audits.md"


def test_the_document_has_the_table_of_what_is_explained() -> None:
    assert markdown(explanations()) in DOCUMENT.read_text(encoding="utf-8"), (
        "put the table that `python -m tests.audits table` prints into docs/audits.md"
    )


@pytest.mark.parametrize("tool", ["audits", "bench", "faults"])
def test_a_tool_of_the_deployment_begins_without_pytests_path(tool: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", f"import tests.{tool}.__main__"],
        cwd=DOCUMENT.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_what_is_explained_is_covered_by_tool_and_pattern() -> None:
    known = [Explanation("lynis", "server: suggestion: FILE-*", "because")]
    covered = Finding("lynis", "server", "suggestion: FILE-6310: a partition")
    other = Finding("lynis", "server", "warning: FILE-6310: a partition")
    elsewhere = Finding("testssl.sh", "server", "suggestion: FILE-6310: a partition")
    assert unexplained([other, covered, elsewhere, other], known) == [other, elsewhere]


def test_warnings_and_failures_of_ssh_audit_count() -> None:
    report = {
        "kex": [{"algorithm": "a", "notes": {"fail": ["broken"], "info": ["old"]}}],
        "key": [{"algorithm": "b", "notes": {}}],
        "enc": [{"algorithm": "c", "notes": {"warn": ["weak", "slow"]}}],
        "mac": [],
        "cves": [{"name": "CVE-1"}],
        "additional_notes": ["38 connections were created in 0.214 seconds"],
    }
    assert [one.text for one in read_ssh_audit(report, "sshd")] == [
        "fail: kex a: broken",
        "warn: enc c: weak",
        "warn: enc c: slow",
        "fail: CVE-1",
        "warn: N connections were created in N seconds",
    ]


def test_what_testssl_calls_information_does_not_count() -> None:
    report = [
        {"id": "TLS1", "severity": "OK", "finding": "not offered"},
        {"id": "LUCKY13", "severity": "LOW", "finding": "potentially vulnerable"},
        {"id": "cert", "severity": "INFO", "finding": "x"},
    ]
    assert [one.text for one in read_testssl(report, "p")] == ["low: LUCKY13: potentially vulnerable"]


def test_lynis_warnings_and_suggestions_count() -> None:
    report = "os=Linux\nsuggestion[]=A-1|do this|-|-|\nwarning[]=B-2|bad|text|-|\nmanual[]=x\n"
    assert [one.text for one in read_lynis(report)] == ["suggestion: A-1: do this", "warning: B-2: bad: text"]


def test_a_failed_line_of_check_perf_counts_whatever_its_numbers() -> None:
    said = "PASS: Throughput is 150 writes/s\nFAIL: Slowest request took too long: 1.2s\nFAIL\n"
    assert [one.text for one in read_check_perf(said)] == ["FAIL: Slowest request took too long: Ns", "FAIL"]


def test_each_port_is_tried_in_every_way() -> None:
    text = script("s1")
    for port in PORTS:
        assert text.count(f"printf '{port.port}\\t") == len(ATTEMPTS) + 1
    assert set(ATTEMPTS) >= GOOD
    assert "-connect 127.0.0.1:10257 " in text
