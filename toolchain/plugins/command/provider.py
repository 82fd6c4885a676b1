"""The command provider: what the engine asks, resource by resource."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from toolchain.plugins.command import local, remote, schema, transfer
from toolchain.plugins.command.connection import SECRETS, parse
from toolchain.plugins.command.output import Logging, Redaction
from toolchain.plugins.command.pool import Pool
from toolchain.plugins.common.diff import Diff, Kind, compare
from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.provider import Checked, Operation, Properties, Provider, State
from toolchain.plugins.common.values import UNKNOWN, Archive, Asset, Value, has_secret, reveal, secret_texts

# The official plugin is built with pulumi-go-provider of this version and says so in the provider's inputs.
# Without it a stack continued with the other kind of plugin would show a changed provider.
_FRAMEWORK = {"__pulumi-go-provider-version": "v1.5.0"}
_PREVIOUS = {"stdout": "PULUMI_COMMAND_STDOUT", "stderr": "PULUMI_COMMAND_STDERR"}


class CommandProvider(Provider):
    """local.Command, remote.Command, remote.CopyToRemote and local.run, as of the command plugin 1.2.1."""

    name = "command"
    version = "1.2.1"
    schema = '{"name": "command", "version": "1.2.1"}'

    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool()

    def check_config(self, op: Operation) -> Checked:
        return Checked({**op.news, **_FRAMEWORK})

    def check(self, op: Operation) -> Checked:
        return schema.check(_known(op.type), op.news)

    def diff(self, op: Operation) -> Diff:
        names = schema.INPUTS[_known(op.type)]
        # The state of an engine that does not send old inputs still has them among the outputs.
        olds = op.old_inputs or {key: value for key, value in op.olds.items() if key in names}
        changes = compare(olds, op.news)
        for name, new in op.news.items():
            # What became secret must become so in the state too, which takes an update.
            old = olds.get(name)
            if old is not None and has_secret(new) and not has_secret(old) and reveal(old) == reveal(new):
                changes[name] = Kind.UPDATE
        return Diff(changes=changes)

    def create(self, op: Operation) -> State:
        token = _known(op.type)
        if token == schema.COPY:
            if op.preview:
                return State("", op.news)
            self._copy(op)
            return State(secrets.token_hex(4), op.news)
        identity = op.name + secrets.token_hex(4)
        outputs = self._command(token, op.news.get("create"), op.news, {}, op)
        return State(identity, {**op.news, **outputs})

    def update(self, op: Operation) -> Properties:
        token = _known(op.type)
        if token == schema.COPY:
            moved = reveal(op.olds.get("remotePath")) != reveal(op.news.get("remotePath"))
            if not op.preview and (moved or _hash(op.olds) != _hash(op.news)):
                self._copy(op)
            return op.news
        command = op.news.get("update")
        if command is None:
            command = op.news.get("create")
        return {**op.news, **self._command(token, command, op.news, op.olds, op)}

    def delete(self, op: Operation) -> None:
        token = _known(op.type)
        if token != schema.COPY and op.olds.get("delete") is not None:
            self._command(token, op.olds["delete"], op.olds, op.olds, op)

    def read(self, op: Operation) -> State:
        """Nothing is looked at: a command has no state to read back. The state stays as it is."""
        outputs = dict(op.olds)
        assets = reveal(outputs.get("assets"))
        if isinstance(assets, Mapping):
            # The engine sent their hashes only. It hands our answer on to the program, where the Python SDK
            # fails on an asset without path or text; the path is known from its name.
            folder = reveal(outputs.get("dir"))
            outputs["assets"] = {
                name: Asset(asset.hash, path=str(local.base(folder) / name)) for name, asset in assets.items()
            }
        return State(op.id, outputs, op.old_inputs)

    def invoke(self, token: str, op: Operation) -> Properties:
        if token != schema.RUN:
            return super().invoke(token, op)
        checked = schema.check(token, op.news)
        if checked.failures:
            raise ProviderError("; ".join(failure.reason for failure in checked.failures))
        # A function runs in previews too: its caller needs the answer.
        op.preview = False
        outputs = self._command(schema.LOCAL, op.news["command"], op.news, {}, op)
        return {**op.news, **outputs}

    def close(self) -> None:
        self.pool.close()

    def _copy(self, op: Operation) -> None:
        source = reveal(op.news["source"])
        if not isinstance(source, Asset | Archive):
            raise ProviderError("source: must be an asset or an archive")
        transfer.copy(self.pool, parse(op.news["connection"]), source, reveal(op.news["remotePath"]), op)

    def _command(
        self, token: str, command: Any, inputs: Properties, olds: Properties, op: Operation
    ) -> Properties:
        """Run one of a resource's commands, when there is one to run; the outputs that come of it."""
        plain = {key: reveal(value) for key, value in inputs.items()}
        collects = [key for key in ("assetPaths", "archivePaths") if plain.get(key) is not None]
        if op.preview:
            unknown: Properties = {"stdout": UNKNOWN, "stderr": UNKNOWN}
            return unknown | {"assets" if key == "assetPaths" else "archive": UNKNOWN for key in collects}
        if command is None:
            return {key: olds.get(key, "") for key in _PREVIOUS} | {
                key: olds[key] for key in ("assets", "archive") if key in olds
            }
        redaction = Redaction(_hidden(inputs) | _hidden(olds) | _hidden(op.news))
        logging = Logging.of(plain.get("logging"))
        previous: dict[str, str] = {}
        if plain.get("addPreviousOutputInEnv") is not False:
            previous = {_PREVIOUS[key]: text for key in _PREVIOUS if (text := reveal(olds.get(key)))}
        environment: Mapping[str, str] = plain.get("environment") or {}
        if token == schema.REMOTE:
            remotely = remote.run(
                self.pool,
                parse(plain.get("connection")),
                reveal(command),
                op,
                stdin=plain.get("stdin"),
                environment=environment,
                previous=previous,
                logging=logging,
                redaction=redaction,
            )
            return {"stdout": remotely.stdout, "stderr": remotely.stderr}
        result = local.run(
            reveal(command),
            op,
            interpreter=plain.get("interpreter") or (),
            directory=plain.get("dir"),
            stdin=plain.get("stdin"),
            environment={**environment, **previous},
            logging=logging,
            redaction=redaction,
        )
        outputs: Properties = {"stdout": result.stdout, "stderr": result.stderr}
        if "assetPaths" in collects:
            outputs["assets"] = local.collect(plain.get("dir"), plain["assetPaths"])
        if "archivePaths" in collects:
            outputs["archive"] = Archive(assets=local.collect(plain.get("dir"), plain["archivePaths"]))
        return outputs


def _known(token: str) -> str:
    if token not in (schema.LOCAL, schema.REMOTE, schema.COPY):
        kinds = ", ".join(sorted((schema.LOCAL, schema.REMOTE, schema.COPY)))
        raise ProviderError(f"the offline command plugin has no resource {token}; it has {kinds}")
    return token


def _hidden(properties: Properties) -> set[str]:
    """The texts that no message shows: all that is secret, and of a connection its keys and passwords.

    A connection is a secret as a whole, as with the official plugin; its user, host and port are what a
    message is about ("user: admin is not root").
    """
    rest = {name: value for name, value in properties.items() if name != "connection"}
    return secret_texts(rest) | _credentials(reveal(properties.get("connection")))


def _credentials(connection: Value) -> set[str]:
    if not isinstance(connection, Mapping):
        return set()
    found = {connection[name] for name in SECRETS if isinstance(connection.get(name), str)}
    return found | _credentials(connection.get("proxy"))


def _hash(properties: Properties) -> str:
    source = reveal(properties.get("source"))
    return source.hash if isinstance(source, Asset | Archive) else ""
