"""An option that may be given more than once reaches each service by its file, as its own start reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jarvis.openstack import configuration
from tests.images.test_built import unpack

# As each service's own start reads its options.
STARTS = {
    "keystone": (
        "from keystone import server; server.configure(config_files=[])\n"
        "from keystone.conf import CONF; print(CONF.federation.trusted_dashboard)"
    ),
    "glance": (
        "from glance.common import config; config.parse_args([], default_config_files=[])\n"
        "from oslo_policy import opts; opts._register(config.CONF)\n"
        "print(config.CONF.oslo_policy.policy_dirs)"
    ),
    "placement": (
        "from oslo_config import cfg; from placement import conf; config = cfg.ConfigOpts()\n"
        "conf.register_opts(config); config([], project='placement', default_config_files=[])\n"
        "print(config.oslo_policy.policy_dirs)"
    ),
}
OPTIONS = {"keystone": "federation.trusted_dashboard"}
NEEDED = {"OS_PLACEMENT_DATABASE__CONNECTION": "sqlite://", "OS_DATABASE__CONNECTION": "sqlite://"}


@pytest.mark.parametrize("service", STARTS)
def test_a_service_reads_each_value_of_a_list(service: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    image = unpack(service, tmp_path)
    folder = tmp_path / configuration.folder(service).lstrip("/")
    folder.mkdir(parents=True)
    values = ["https://a/$x", "b, c"]
    option = OPTIONS.get(service, "oslo_policy.policy_dirs")
    for name, text in configuration.rendered({option: values}).files.items():
        (folder / name).write_text(text)
    assert image.run("python3", "-c", STARTS[service], **NEEDED).splitlines()[-1] == str(values)
