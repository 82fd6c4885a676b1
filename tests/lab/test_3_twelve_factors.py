"""The twelve factors (12factor.net) of every pod of OpenStack, as they show from outside."""

from __future__ import annotations

import json
import re
import signal
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from ssl import create_default_context
from typing import Any

import pytest
import yaml
from deployment import Cloud, wait_until

CACHE = "keystone-cache"
NAMESPACE = "openstack"
# Two cores that compile, link and test beside are slow: a limit of patience, and no measure.
PATIENCE_SECONDS = 240
# CPU seconds of all processes of a pod until it is ready: what a start takes of its own, on any machine.
START_CPU_SECONDS = 10
# The service accounts by which keys are rotated; no other pod speaks to the API of Kubernetes.
SPEAKERS = {"keystone-fernet", "keystone-credential"}
# Where files would stay when a pod goes is none of these.
PASSING = {"name", "emptyDir", "configMap", "secret", "projected"}
# What a command of Glance prints as its answer, which is no log.
ANSWER = re.compile(r"(Upgraded database |Database |Migrated |There are no ).*")
# uWSGI says that it knows how to write JSON, before it does so.
FIRST_WORDS = re.compile(r"(\[log-encoder\] registered json:server .*)?")
LOGS = f"grep -rH '' /var/log/pods/{NAMESPACE}_*; true"
GATEWAY_LOGS = "grep -rhE -- '%s' /var/log/pods/gateway_*; true"
# The line's file, moment and stream; F ends a line, P is a part of one (kubernetes/cri-api).
LOG_LINE = re.compile(r"(?P<file>[^:]+):\S+ (?P<stream>stdout|stderr) (?P<tag>[FP])(?: (?P<text>.*))?")

# Each way by which a process may have more rights, and what it may write, as it sees them itself.
LOOK = """
import errno, glob, json, os, pathlib
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines())
def attempt(folder):
    try:
        with open(os.path.join(folder, ".twelve"), "w"):
            return "written"
    except OSError as error:
        return errno.errorcode[error.errno]
def processes():
    for path in glob.glob("/proc/[0-9]*"):
        try:
            numbers = pathlib.Path(path, "stat").read_text().rpartition(")")[2].split()
            words = pathlib.Path(path, "cmdline").read_text().split("\\0")[:-1]
        except OSError:
            continue
        if path != f"/proc/{os.getpid()}":
            yield words, (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
found = list(processes())
print(json.dumps({
    "status": status,
    "writes": {path: attempt(path) for path in ("/", "/etc", "/opt/openstack", "/usr", "/var/lib", "/tmp")},
    "token": os.path.exists("/var/run/secrets/kubernetes.io"),
    "commands": [words for words, _ in found],
    "cpu": sum(seconds for _, seconds in found),
    "variables": sorted(os.environ),
}))
"""


def _pods(cloud: Cloud, *words: str) -> list[dict[str, Any]]:
    """The pods that are not on their way out."""
    pods = cloud.objects("pods", "-n", NAMESPACE, *words)
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


@pytest.fixture(scope="module")
def specs(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """The specification of each pod, and of those that a CronJob will make."""
    found = {pod["metadata"]["name"]: pod["spec"] for pod in _pods(cloud)}
    for one in cloud.objects("cronjobs", "-n", NAMESPACE):
        template = one["spec"]["jobTemplate"]["spec"]["template"]
        found[f"cronjob {one['metadata']['name']}"] = template["spec"]
    assert {name for name in found if "keystone" in name and "expand" in name}, "pods of Jobs are among them"
    return found


@pytest.fixture(scope="module")
def services(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """Each Deployment of OpenStack by its name. Keystone's caches are none: they may be away."""
    found = {one["metadata"]["name"]: one for one in cloud.objects("deployments", "-n", NAMESPACE)}
    found = {name: one for name, one in found.items() if not name.startswith(CACHE)}
    assert found.keys() == {"keystone", "glance"}
    return found


def _serving(cloud: Cloud, deployment: dict[str, Any]) -> list[dict[str, Any]]:
    match = deployment["spec"]["selector"]["matchLabels"]
    return _pods(cloud, "-l", ",".join(f"{key}={value}" for key, value in match.items()))


def _look(cloud: Cloud, pod: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        cloud.kubectl("exec", "-n", NAMESPACE, pod, "--", "python3", "-c", LOOK)
    )
    return found


def test_no_pod_may_do_more_than_it_must(specs: dict[str, dict[str, Any]]) -> None:
    speakers = set()
    for name, spec in specs.items():
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert context["runAsUser"] > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & {key for key, value in spec.items() if value}, name
        for container in spec.get("initContainers", []) + spec["containers"]:
            own = container["securityContext"]
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["allowPrivilegeEscalation"] is False, name
            assert not own.get("privileged"), name
            # What a pod's own context says holds, then.
            assert not {"runAsUser", "runAsNonRoot", "seccompProfile"} & own.keys(), name
        projected = [
            source for volume in spec["volumes"] for source in volume.get("projected", {}).get("sources", [])
        ]
        if any("serviceAccountToken" in source for source in projected):
            speakers.add(spec["serviceAccountName"])
        else:
            assert spec.get("serviceAccountName", "default") == "default", name
    assert speakers == SPEAKERS


def test_every_pod_is_one_process_type_that_can_go_at_any_time(specs: dict[str, dict[str, Any]]) -> None:
    for name, spec in specs.items():
        assert len(spec["containers"]) == 1, name
        for volume in spec["volumes"]:
            assert volume.keys() <= PASSING, (name, volume["name"])
        [container] = spec["containers"]
        assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"]), name
        resources = container["resources"]
        assert resources["requests"].keys() >= {"cpu", "memory"}, name
        assert "memory" in resources["limits"], name


def test_configuration_is_in_the_environment_and_secrets_in_no_specification(
    specs: dict[str, dict[str, Any]],
) -> None:
    for name, spec in specs.items():
        [container] = spec["containers"]
        kinds = {kind for source in container.get("envFrom", []) for kind in source}
        assert kinds in ({"configMapRef", "secretRef"}, set()), name
        # Without options of its service a pod has only what it is told beside; memcached knows no other way.
        assert kinds or container.get("env") or name.startswith(CACHE), name
        for variable in container.get("env", []):
            if re.search(r"password|secret|key", variable["name"], re.IGNORECASE):
                assert "secretKeyRef" in variable.get("valueFrom", {}), (name, variable["name"])
        assert not [word for word in container["command"] if word.startswith("--config")], name


def test_services_are_watched_and_spread_and_not_drained_at_once(
    cloud: Cloud, services: dict[str, dict[str, Any]]
) -> None:
    budgets = cloud.objects("poddisruptionbudgets", "-n", NAMESPACE)
    for name, deployment in services.items():
        template = deployment["spec"]["template"]
        [container] = template["spec"]["containers"]
        assert container.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}, name
        match = deployment["spec"]["selector"]["matchLabels"]
        [budget] = [one for one in budgets if one["spec"]["selector"]["matchLabels"] == match]
        assert budget["status"]["expectedPods"] == deployment["spec"]["replicas"], name
        wait_until(
            f"a pod of {name} may be drained, and not all",
            lambda one=budget["metadata"]["name"]: (
                json.loads(cloud.kubectl("get", "pdb", "-n", NAMESPACE, one, "-o", "json"))["status"][
                    "disruptionsAllowed"
                ]
                == 1
            ),
            PATIENCE_SECONDS,
        )
        [spread] = template["spec"]["topologySpreadConstraints"]
        assert spread["topologyKey"] == "kubernetes.io/hostname", name
        assert spread["whenUnsatisfiable"] == "DoNotSchedule", name
        places = {pod["spec"]["nodeName"] for pod in _serving(cloud, deployment)}
        assert len(places) == min(deployment["spec"]["replicas"], len(cloud.servers)), name


def test_no_process_has_a_right_or_writes_where_it_may_not(
    cloud: Cloud, services: dict[str, dict[str, Any]]
) -> None:
    for deployment in services.values():
        for pod in _serving(cloud, deployment):
            name = pod["metadata"]["name"]
            found = _look(cloud, name)
            status = found["status"]
            assert "0" not in status["Uid"].split(), name
            assert "0" not in status["Gid"].split(), name
            for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
                assert int(status[kind], 16) == 0, (name, kind)
            assert status["NoNewPrivs"].strip() == "1", name
            assert status["Seccomp"].strip() == "2", name
            assert found["writes"].pop("/tmp") == "written", name
            assert set(found["writes"].values()) == {"EROFS"}, (name, found["writes"])
            assert not found["token"], name
            # Its master and its workers, and nothing else.
            assert {tuple(words) for words in found["commands"]} == {tuple(found["commands"][0])}, name
            assert "OS_DATABASE__CONNECTION" in found["variables"], name
            # Kubernetes names its own API to every container; Services of the namespace it must not.
            hosts = {each for each in found["variables"] if each.endswith("_SERVICE_HOST")}
            assert hosts <= {"KUBERNETES_SERVICE_HOST"}, name


def test_a_service_that_is_told_to_go_ends_well_and_is_soon_back(
    cloud: Cloud, services: dict[str, dict[str, Any]]
) -> None:
    """The signal that kubelet sends, to one pod of each: the record of its end stays with the pod."""
    for deployment in services.values():
        name = _serving(cloud, deployment)[0]["metadata"]["name"]

        def status(name: str = name) -> dict[str, Any]:
            pod = json.loads(cloud.kubectl("get", "pod", "-n", NAMESPACE, name, "-o", "json"))
            [one] = pod["status"]["containerStatuses"]
            return dict(one)

        def again(before: int, status: Any = status) -> bool:
            one = status()
            return one["restartCount"] > before and one["ready"]

        before = status()["restartCount"]
        program = f"import os; os.kill(1, {int(signal.SIGTERM)})"
        cloud.kubectl("exec", "-n", NAMESPACE, name, "--", "python3", "-c", program)
        wait_until(f"{name} is back", lambda before=before, again=again: again(before), PATIENCE_SECONDS)
        last = status()["lastState"]["terminated"]
        assert (last["exitCode"], last["reason"]) == (0, "Completed"), name
        used = _look(cloud, name)["cpu"]
        cloud.stack.say(f"{name}: ready after {used:.1f} s of CPU")
        assert 0 < used < START_CPU_SECONDS, name


def _ends_while_it_starts(cloud: Cloud, deployment: dict[str, Any]) -> None:
    """A pod is deleted, and then its successor, whose process runs and does not serve yet."""
    before = {pod["metadata"]["name"] for pod in _serving(cloud, deployment)}
    young: list[str] = []

    def starts() -> list[str]:
        young[:] = [
            pod["metadata"]["name"]
            for pod in _serving(cloud, deployment)
            for one in pod["status"].get("containerStatuses", [])
            if pod["metadata"]["name"] not in before and "running" in one["state"] and not one["ready"]
        ]
        return young

    def gone() -> bool:
        return not set(young) & {pod["metadata"]["name"] for pod in cloud.objects("pods", "-n", NAMESPACE)}

    cloud.kubectl("delete", "pod", "-n", NAMESPACE, "--wait=false", min(before))
    wait_until("a successor starts", starts, PATIENCE_SECONDS)
    cloud.kubectl("delete", "pod", "-n", NAMESPACE, "--wait=false", *young)
    wait_until(f"{', '.join(young)} is gone", gone, PATIENCE_SECONDS)


def test_a_service_that_is_told_to_go_while_it_starts_goes(
    cloud: Cloud, services: dict[str, dict[str, Any]]
) -> None:
    """As one whose server comes back after it was given up: there is no request to wait for."""
    for deployment in services.values():
        _ends_while_it_starts(cloud, deployment)


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    """The file, the stream and the text of each whole line of the containers' logs."""
    parts: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        found = LOG_LINE.fullmatch(line)
        assert found, line[:200]
        key = found["file"], found["stream"]
        parts[key] = parts.get(key, "") + (found["text"] or "")
        if found["tag"] == "F":
            yield *key, parts.pop(key)


def test_every_line_of_a_log_is_json(cloud: Cloud, services: dict[str, dict[str, Any]]) -> None:
    counts: dict[str, int] = {}
    for _, text in cloud.each(LOGS):
        for file, stream, line in _lines(text):
            container = file.split("/")[-2]
            # memcached tells its own trouble alone, in words of its own.
            if container == "cache":
                continue
            if stream == "stderr":
                assert FIRST_WORDS.fullmatch(line), (file, line[:300])
                continue
            if container not in services and ANSWER.fullmatch(line):
                continue
            assert isinstance(json.loads(line), dict), (file, line[:300])
            counts[container] = counts.get(container, 0) + 1
    # Of each service, which was restarted just now, and of a Job.
    assert {name for name, count in counts.items() if count > 10} >= services.keys()
    assert counts["bootstrap"] > 0


def test_a_log_says_which_request_it_is_about(cloud: Cloud) -> None:
    """One that is refused, by the id that the client gave it."""
    known = yaml.safe_load(cloud.stack.workspace.clouds.read_text())["clouds"]["jarvis"]["auth"]
    user = {"name": known["username"], "password": "wrong", "domain": {"name": "Default"}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    given = f"req-{uuid.uuid4()}"
    request = urllib.request.Request(
        f"{known['auth_url']}/auth/tokens",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-Openstack-Request-Id": given},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, context=create_default_context(cafile=str(cloud.authority)))
    assert refused.value.code == 401
    own = refused.value.headers["X-Openstack-Request-Id"]
    assert own
    assert own != given
    lines = [line for _, text in cloud.each(LOGS) for _, _, line in _lines(text) if own in line]
    assert lines, own
    # The client's id beside the service's own: by the one all services' lines about a request are found.
    assert any(given in line for line in lines), lines
    # And the gateway's line, for every request: who asked, what came of it and how long it took.
    found = [
        line.split(" ", 3)[3] for _, text in cloud.each(GATEWAY_LOGS % given) for line in text.splitlines()
    ]
    [access] = [json.loads(line) for line in found]
    assert (access["request_id"], access["status"], access["method"]) == (given, 401, "POST")
    assert access["path"].endswith("/auth/tokens")
