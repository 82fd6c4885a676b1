"""How servers speak TLS and SSH, as openssl and ssh-audit see it, and what the CIS benchmark asks for.

`make audit` has the slower tools.
"""

from __future__ import annotations

from deployment import Cloud

from tests.audits import cis, tls, tools
from tests.audits.finding import explanations, unexplained


def test_every_port_of_tls_takes_what_is_safe_and_nothing_else(cloud: Cloud) -> None:
    server = cloud.servers[-1]
    assert {port.port for port in tls.PORTS} == set(tls.hellos(cloud, server)), "all of them are open"
    assert unexplained(tls.findings(cloud), explanations()) == []


def test_ssh_audit_finds_nothing_new(cloud: Cloud) -> None:
    assert unexplained(tools.ssh_audit(cloud), explanations()) == []


def test_every_control_of_the_cis_benchmark_holds_as_the_list_says(cloud: Cloud) -> None:
    assert unexplained(cis.findings(cloud), explanations()) == []
