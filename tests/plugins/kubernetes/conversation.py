"""A plugin asked as the engine asks it, without the engine: over gRPC, one request after the other.

Answers are kept in a form that is the same for every run and every plugin that does the same: addresses,
times, identities and what only the server sets are left out.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format

from toolchain.plugins.common import server
from toolchain.plugins.common.protos import (
    empty_pb2,
    engine_pb2,
    engine_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)
from toolchain.plugins.kubernetes.provider import KubernetesProvider

PROVIDER = "urn:pulumi:dev::test::pulumi:providers:kubernetes::cluster"
# An error carries the object that exists all the same, in gRPC's metadata.
_OPTIONS = [
    *server.CHANNEL_OPTIONS,
    ("grpc.max_metadata_size", 2**20),
    ("grpc.absolute_max_metadata_size", 2**21),
]
_LASTING = 2  # Warnings and errors; what is below may come and go.
_SERVER_METADATA = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")
_MASKS = (
    (re.compile(r"https://127\.0\.0\.1:\d+"), "<server>"),
    (re.compile(r"(localhost|127\.0\.0\.1):\d+"), "<address>"),
    (re.compile(r"pulumi-kubernetes-[0-9a-f]{8}\b"), "pulumi-kubernetes-<digits>"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uid>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "<time>"),
    (re.compile(r"(?<=`kubernetes:config:kubeconfig`- ).*", re.DOTALL), "<why>"),
    (re.compile(r"^10\.96\.\d+\.\d+$"), "<service address>"),
)


class Log(engine_pb2_grpc.EngineServicer):
    """The engine's side: hears what the plugin says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def Log(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.severity >= _LASTING and not request.ephemeral:
            self.lines.append(masked(request.message))
        return empty_pb2.Empty()

    def GetRootResource(self, request: Any, context: grpc.ServicerContext) -> Any:
        return engine_pb2.GetRootResourceResponse()


@contextmanager
def listening() -> Iterator[tuple[Log, str]]:
    """An engine's log service, and its address."""
    log = Log()
    running = grpc.server(ThreadPoolExecutor(max_workers=4))
    engine_pb2_grpc.add_EngineServicer_to_server(log, running)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        yield log, f"127.0.0.1:{port}"
    finally:
        running.stop(0)


@contextmanager
def of_process(program: Path, environment: Mapping[str, str]) -> Iterator[Conversation]:
    """A conversation with a plugin's program."""
    with listening() as (log, address):
        process = subprocess.Popen([str(program), address], stdout=subprocess.PIPE, env=dict(environment))
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
                yield Conversation(provider_pb2_grpc.ResourceProviderStub(channel), log)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@contextmanager
def of_adapter() -> Iterator[Conversation]:
    """A conversation with the adapter of this checkout, in this process."""
    with listening() as (log, address):
        provider = KubernetesProvider()
        provider.engine.connect(address)
        running, _, port = server.start(provider)
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
                yield Conversation(provider_pb2_grpc.ResourceProviderStub(channel), log)
        finally:
            provider.cancellation.set()
            provider.close()
            running.stop(0)


class Conversation:
    """Requests to one plugin process.

    Attributes:
        said: every answer so far, in order: `asked` and `answer`, or `error`; `logged` where something was.
    """

    def __init__(self, stub: Any, log: Log) -> None:
        self._stub, self._log = stub, log
        self.said: list[dict[str, Any]] = []

    def ask(self, method: str, request: Any, about: str = "") -> dict[str, Any] | None:
        """The plugin's answer as a mapping, or None for an error; both are kept in `said`."""
        self._log.lines.clear()
        entry: dict[str, Any] = {"asked": f"{method} {about}".strip()}
        answer: dict[str, Any] | None = None
        try:
            answer = json_format.MessageToDict(getattr(self._stub, method)(request))
            entry["answer"] = comparable(answer)
        except grpc.RpcError as error:
            entry["error"] = masked(error.details())
            entry |= _partial(error)
        if self._log.lines:
            entry["logged"] = list(self._log.lines)
        self.said.append(entry)
        return answer

    def note(self, what: str, value: Any) -> None:
        """Keep what was seen beside the plugin."""
        self.said.append({"seen": what, "value": comparable(value)})

    def configure(self, **settings: str) -> None:
        """Configure with these inputs of the provider."""
        request = provider_pb2.ConfigureRequest(
            variables={f"kubernetes:config:{name}": value for name, value in settings.items()},
            acceptSecrets=True,
            acceptResources=True,
            sends_old_inputs=True,
            sends_old_inputs_to_delete=True,
        )
        request.args.update(settings)
        self.ask("Configure", request)

    def diff_config(self, olds: Mapping[str, Any], news: Mapping[str, Any], about: str) -> None:
        """What a change of the provider's inputs does."""
        request = provider_pb2.DiffRequest(id="id", urn=PROVIDER)
        for field in (request.olds, request.old_inputs):
            field.update(olds)
        request.news.update(news)
        self.ask("DiffConfig", request, about)


class Resource:
    """An object as the engine has it.

    Attributes:
        id, inputs, outputs: as in the state; set by what the plugin answers.
    """

    def __init__(self, talk: Conversation, body: Mapping[str, Any], name: str = "") -> None:
        group = body["apiVersion"] if "/" in body["apiVersion"] else f"core/{body['apiVersion']}"
        self._type = f"kubernetes:{group}:{body['kind']}"
        self.name = name or str(body["kind"]).lower()
        self._talk = talk
        self.id = ""
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    @property
    def _who(self) -> dict[str, str]:
        urn = f"urn:pulumi:dev::test::{self._type}::{self.name}"
        return {"urn": urn, "type": self._type, "name": self.name}

    def check(self, news: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs that the plugin makes of these."""
        request = provider_pb2.CheckRequest(**self._who, randomSeed=b"seed")
        request.olds.update(self.inputs)
        request.news.update(news)
        answer = self._talk.ask("Check", request, self.name) or {}
        return dict(answer.get("inputs", {}))

    def create(self, inputs: Mapping[str, Any], *, preview: bool = False) -> None:
        """Create, or preview that."""
        request = provider_pb2.CreateRequest(**self._who, preview=preview)
        request.properties.update(inputs)
        about = f"{self.name} in a preview" if preview else self.name
        answer = self._talk.ask("Create", request, about)
        if answer is not None and not preview:
            self.id, self.inputs, self.outputs = answer["id"], dict(inputs), answer["properties"]

    def diff(self, news: Mapping[str, Any], about: str = "") -> None:
        """What a change to these inputs does."""
        request = provider_pb2.DiffRequest(**self._who, id=self.id)
        request.olds.update(self.outputs)
        request.old_inputs.update(self.inputs)
        request.news.update(news)
        self._talk.ask("Diff", request, f"{self.name} {about}".strip())

    def update(self, news: Mapping[str, Any], *, preview: bool = False) -> None:
        """Update, or preview that."""
        request = provider_pb2.UpdateRequest(**self._who, id=self.id, preview=preview)
        request.olds.update(self.outputs)
        request.old_inputs.update(self.inputs)
        request.news.update(news)
        about = f"{self.name} in a preview" if preview else self.name
        answer = self._talk.ask("Update", request, about)
        if answer is not None and not preview:
            self.inputs, self.outputs = dict(news), answer["properties"]

    def read(self) -> None:
        """Read the object anew, as a refresh does."""
        request = provider_pb2.ReadRequest(**self._who, id=self.id)
        request.properties.update(self.outputs)
        request.inputs.update(self.inputs)
        answer = self._talk.ask("Read", request, self.name)
        if answer is not None and answer.get("id"):
            self.inputs, self.outputs = answer["inputs"], answer["properties"]

    def delete(self) -> None:
        """Delete the object."""
        request = provider_pb2.DeleteRequest(**self._who, id=self.id, timeout=20)
        request.properties.update(self.outputs)
        request.old_inputs.update(self.inputs)
        self._talk.ask("Delete", request, self.name)


def masked(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


def comparable(value: Any) -> Any:
    """The value without what differs from run to run, or changes while nobody touches it."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {key: comparable(item) for key, item in value.items() if not (key == "status" and "kind" in value)}
    if isinstance(out.get("metadata"), dict):
        metadata = {key: item for key, item in out["metadata"].items() if key not in _SERVER_METADATA}
        notes = metadata.get("annotations")
        if isinstance(notes, dict):
            kept = {
                key: item for key, item in notes.items() if not key.startswith("deployment.kubernetes.io/")
            }
            metadata["annotations"] = kept
        out["metadata"] = metadata
    return out


def _partial(error: Any) -> dict[str, Any]:
    """What the error says of an object that exists all the same."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                found = provider_pb2.ErrorResourceInitFailed()
                if detail.Unpack(found):
                    said = json_format.MessageToDict(found)
                    return {"exists": comparable(json.loads(json.dumps(said)))}
    return {}
