"""Fixtures of the kubernetes adapter's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory, pulumi_tools: Path) -> Iterator[ApiServer]:
    """A running control plane: etcd, kube-apiserver and kube-controller-manager; no node."""
    server = ApiServer(tmp_path_factory.mktemp("kubernetes"), pulumi_tools)
    try:
        server.start()
        yield server
    finally:
        server.stop()
