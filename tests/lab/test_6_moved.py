"""Another virtual address: two deployments under load, in which clients follow and nothing is made anew."""

from __future__ import annotations

import json
import shutil
import time
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from asking import Asking
from deployment import Cloud, Run, wait_until

from tests.faults.client import Gateway, User
from tests.faults.load import Load

MINUTES = 60
# Nobody in the lab has it: servers are from .11 on, and the virtual address is .100.
OTHER = 101


def configure(cloud: Cloud, address: str) -> None:
    """Changes the address in the configuration, for good."""
    stack = cloud.stack
    stack.environment = stack.changed(networks={"virtual_address": address})
    stack.configure(stack.environment)


def objects(cloud: Cloud) -> dict[str, Any]:
    """Namespaces and Secrets by name: their uids, and what is in them.

    The gateway's certificate is to change, and keys of tokens rotate by themselves each day.
    """
    found = {}
    for kind in ("namespaces", "secrets"):
        for one in cloud.objects(kind, "--all-namespaces"):
            metadata = one["metadata"]
            name = f"{kind} {metadata.get('namespace', '')}/{metadata['name']}"
            changes = name == "secrets gateway/gateway" or name.endswith("-fernet-keys")
            found[name] = (metadata["uid"], None if changes else one.get("data"))
    return found


def endpoints(cloud: Cloud) -> list[tuple[str, str, str]]:
    """Service, interface and URL of each endpoint of the catalogue."""
    listed = json.loads(
        cloud.tool("openstack", "--os-cloud", "jarvis", "endpoint", "list", "-f", "json").stdout
    )
    return sorted((one["Service Name"], one["Interface"], one["URL"]) for one in listed)


def answers(cloud: Cloud, kubeconfig: Path) -> bool:
    """Whether the API does, by ``kubeconfig``."""
    words = ("--kubeconfig", str(kubeconfig), "--request-timeout", "10s", "get", "--raw", "/readyz")
    return cloud.tool("kubectl", *words, check=False).returncode == 0


def replaced(run: Run) -> list[str]:
    """What was made anew, but for Jobs."""
    return [label for label, step in run.steps().items() if "replace" in step and "/v1:Job " not in label]


def up_under_load(cloud: Cloud, user: User, kubeconfig: Path) -> Run:
    """Deploys while ``user`` and the administrator of ``kubeconfig`` ask."""
    stack = cloud.stack
    with Asking(kubeconfig) as asking, Load(user) as load:
        before = time.monotonic()
        wait_until("requests succeed", lambda: load.steady(before) and asking.answered, 5 * MINUTES)
        run = stack.up()
        after = time.monotonic()
        wait_until("requests succeed again", lambda: load.steady(after), 5 * MINUTES)
    for stream in load.streams:
        stack.say(f"virtual address: {stream.kind}: {stream.summary()}")
    stack.say(f"virtual address: API: {asking.answered} answered, {asking.problems}")
    # Each API server and each gateway that changes has the address leave its server, which may cut the one
    # request that is under way.
    assert len(asking.problems) <= 2 * len(cloud.servers), asking.problems
    return run


def test_another_virtual_address_cuts_nobody_off_who_follows(cloud: Cloud, tmp_path: Path) -> None:
    """Clients are led to it, and the former one is let go. Tests after this one use it."""
    stack, old = cloud.stack, cloud.virtual_address
    new = str(ip_network(cloud.facts["network"])[OTHER])
    workspace = stack.workspace
    before, listed = objects(cloud), endpoints(cloud)
    assert len({(service, interface) for service, interface, _ in listed}) == len(listed)
    former = tmp_path / f"kubeconfig-{old}"
    shutil.copy(workspace.kubeconfig, former)
    user = User(workspace.clouds, Gateway(old, cloud.authority))

    configure(cloud, new)
    run = stack.run("preview")
    assert f"{old} stays held beside {new}" in run.output
    run = up_under_load(cloud, user, former)
    assert replaced(run) == []
    assert f"https://{new}:6443" in workspace.kubeconfig.read_text()
    assert f"https://{new}/" in workspace.clouds.read_text()
    for address, kubeconfig in ((old, former), (new, workspace.kubeconfig)):
        assert answers(cloud, kubeconfig), address
    # One holder, which has both.
    assert cloud.holder(old) == cloud.holder(new) is not None
    assert objects(cloud) == before
    assert endpoints(cloud) == listed

    user.come_back(workspace.clouds, Gateway(new, cloud.authority))
    preview = stack.run("preview")
    assert f"networks.virtual_address: {old} is held no more after this run" in preview.output
    shown = preview.steps()
    assert shown["pulumi:providers:kubernetes kubernetes"] == "update"
    assert {f"command:remote:Command {server}-virtual-address" for server in cloud.servers} <= shown.keys()
    run = up_under_load(cloud, user, workspace.kubeconfig)
    assert replaced(run) == []
    assert cloud.holder(old) is None
    assert cloud.holder(new) is not None
    assert not answers(cloud, former)
    assert objects(cloud) == before
    assert endpoints(cloud) == listed
    for server, told in cloud.each("getent ahostsv4 api.jarvis.internal"):
        assert told.split()[0] == new, server
    assert stack.run("preview", "--expect-no-changes").steps() == {}
    assert user.lost() == []
    user.leave()
