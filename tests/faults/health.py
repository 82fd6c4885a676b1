"""Full health, as an operator's tools tell it: nothing of it is asked of Jarvis' own program."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from tests.lab.deployment import Cloud

# What is run on each server; it prints one line for each thing that is not well, and nothing for what is not
# there.
_SERVER = r"""
units=$(cat /var/lib/jarvis/roles/*/units | sort -u)
for unit in $units; do
  systemctl is-active --quiet "$unit" || echo "the unit $unit is not active"
done
systemctl list-units --failed --plain --no-legend | awk '{ print "the unit " $1 " has failed" }'
if systemctl cat mariadb.service >/dev/null 2>&1 && grep -qx 'mariadb.*' <<<"$units"; then
  { timeout 10 mariadb --batch --skip-column-names --execute "show global status like 'wsrep_%'" 2>&1 ||
    echo "ERROR no answer"; } | awk -v want="$1" '
    $1 == "wsrep_cluster_size" && $2 > 0 && $2 != want { print "the database has " $2 " members" }
    $1 == "wsrep_local_state_comment" && $2 != "Synced" && $2 != "" { print "the database is " $2 }
    /ERROR/ { print "the database: " $0 }'
fi
"""
# What is run on one server besides: these tell of all their members, wherever they are asked, and each
# question costs a second of work.
_CLUSTERS = r"""
if [ -e /etc/etcd/etcdctl.env ]; then
  (set -a; . /etc/etcd/etcdctl.env; set +a
   etcdctl endpoint health --cluster >/dev/null 2>&1) || echo "etcd: not all members are healthy"
fi
if grep -q rabbitmq <<<"$units"; then
  rabbitmqctl --quiet --timeout 10 cluster_status --formatter json 2>/dev/null |
    python3 -c 'import json, sys
try:
    found = json.load(sys.stdin)
    down = sorted(set(found["disk_nodes"]) - set(found["running_nodes"]))
    if down or found.get("partitions"):
        print("the queue: not running:", *down)
except ValueError:
    print("the queue does not answer")'
fi
if grep -q ceph-mon <<<"$units"; then
  timeout 20 ceph --connect-timeout 10 health 2>&1 | grep -v '^HEALTH_OK' | head -1 | sed 's/^/storage: /'
fi
"""


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _of_server(cloud: Cloud, server: str, members: int) -> Iterator[str]:
    script = _SERVER + (_CLUSTERS if server == cloud.servers[0] else "") + "true\n"
    run = cloud.attempt_ssh(server, f"bash -s {members} <<'SCRIPT'\n{script}SCRIPT")
    if run.returncode:
        yield f"{server}: no answer"
    yield from (f"{server}: {line}" for line in run.stdout.splitlines() if line.strip())


def _of_nodes(
    nodes: list[dict[str, Any]], leases: list[dict[str, Any]], since: float, rebooted: Collection[str]
) -> Iterator[str]:
    renewed = {lease["metadata"]["name"]: _moment(lease["spec"]["renewTime"]) for lease in leases}
    for node in nodes:
        name = node["metadata"]["name"]
        ready = any(
            one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"]
        )
        # A node whose kubelet has not spoken since the fault is only remembered as ready.
        if not ready or (name in rebooted and renewed.get(name, 0) < since):
            yield f"the node {name} is not ready"


def _of_pods(pods: list[dict[str, Any]], rebooted: Collection[str], since: float) -> Iterator[str]:
    for pod in pods:
        name, status = pod["metadata"]["name"], pod["status"]
        owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])}
        if status["phase"] == "Succeeded" or (status["phase"] == "Failed" and "Job" in owners):
            continue
        ready = any(
            one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", [])
        )
        starts = [
            one["state"].get("running", {}).get("startedAt") for one in status.get("containerStatuses", [])
        ]
        # Containers of a server that lost its power cannot be older than that.
        stale = pod["spec"].get("nodeName") in rebooted and any(
            start is None or _moment(start) < since for start in starts
        )
        if not ready or stale or "deletionTimestamp" in pod["metadata"]:
            yield f"the pod {name} is not ready"


def problems(cloud: Cloud, since: float, rebooted: Collection[str] = ()) -> list[str]:
    """What is not well: nothing when all servers, units, members, nodes and pods are. The servers are asked
    once Kubernetes has nothing to say: whoever looks takes from the servers what they heal with.

    ``since``: moment of the fault (seconds of the epoch); what was last heard before it proves nothing.
    ``rebooted``: servers that lost their power then.
    """
    words = ["get", "nodes,pods,leases", "--all-namespaces", "-o", "json"]
    told = cloud.tool("kubectl", "--request-timeout=10s", *words, check=False)
    if told.returncode:
        return ["the API does not answer"]
    objects = json.loads(told.stdout)["items"]

    def of(kind: str) -> list[dict[str, Any]]:
        return [each for each in objects if each["kind"] == kind]

    leases = [each for each in of("Lease") if each["metadata"]["namespace"] == "kube-node-lease"]
    nodes = of("Node")
    found = [*_of_nodes(nodes, leases, since, rebooted), *_of_pods(of("Pod"), rebooted, since)]
    if len(nodes) != len(cloud.servers):
        found.append(f"{len(nodes)} nodes")
    if found:
        return found
    databases = sum("database" in each["roles"] for each in cloud.stack.environment["servers"])
    with ThreadPoolExecutor() as pool:
        asked = pool.map(lambda server: list(_of_server(cloud, server, databases)), cloud.servers)
        return [problem for each in asked for problem in each]
