"""The provider's own inputs, and the kubeconfig among them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.plugins.common.diff import Diff, Kind
from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.provider import CheckFailure
from toolchain.plugins.common.values import UNKNOWN, has_unknown, reveal

_IDENTIFIER = "clusterIdentifier"
_LEADING = ("kubeconfig", "context", "cluster")
_UNSUPPORTED = {
    "renderYamlToDirectory": "the offline kubernetes plugin renders no YAML: use the official plugin",
}


@dataclass(frozen=True)
class Settings:
    """What the provider was configured with.

    Attributes:
        kubeconfig: content of the kubeconfig; None: kubectl's default.
        known: false in a preview whose kubeconfig (or context) is not known yet.
        context, cluster: of the kubeconfig; None: its current ones.
        namespace: where objects without one go; None: the context's, else "default".
        config_map_mutable, secret_mutable: data is changed in place rather than by a new object.
        delete_unreachable: deletions succeed when the cluster does not answer.
        skip_update_unreachable: then nothing is changed, and nothing read.
        upsert: an object that is there already is taken up and changed, instead of refused.
        patch_force: fields that others own are taken from them.
        suppress_deprecations: the server's warnings are not shown.
    """

    kubeconfig: str | None = None
    known: bool = True
    context: str | None = None
    cluster: str | None = None
    namespace: str | None = None
    config_map_mutable: bool = False
    secret_mutable: bool = False
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    upsert: bool = False
    patch_force: bool = False
    suppress_deprecations: bool = False

    def default_namespace(self) -> str | None:
        """Where objects without a namespace go; None when the kubeconfig is not known."""
        if self.namespace:
            return self.namespace
        if not self.known:
            return None
        if self.kubeconfig is None:
            return "default"
        config = parse_kubeconfig(self.kubeconfig)
        return str(_context(config, self.context).get("namespace") or "default")


def flag(value: Any, variable: str) -> bool:
    """A boolean input, which the SDK sends as a JSON text; else the environment variable's."""
    if value is None:
        value = os.environ.get(variable)
    if isinstance(value, str):
        return value.lower() in ("true", "1")
    return value is True


def settings(inputs: Mapping[str, Any]) -> Settings:
    """The settings of a provider's inputs.

    Raises:
        ProviderError: the kubeconfig names a file that cannot be read.
    """
    plain = reveal(dict(inputs))
    needed = [plain.get(name) for name in ("kubeconfig", "context", "cluster")]
    known = not has_unknown(needed)

    def text(name: str) -> str | None:
        value = plain.get(name)
        return str(value) if value and value is not UNKNOWN else None

    given = plain.get("kubeconfig")
    if isinstance(given, Mapping) and known:
        given = json.dumps(given)
    return Settings(
        kubeconfig=kubeconfig_content(given) if known and given else None,
        known=known,
        context=text("context"),
        cluster=text("cluster"),
        namespace=text("namespace"),
        config_map_mutable=flag(plain.get("enableConfigMapMutable"), "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
        secret_mutable=flag(plain.get("enableSecretMutable"), "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
        delete_unreachable=flag(plain.get("deleteUnreachable"), "PULUMI_K8S_DELETE_UNREACHABLE"),
        skip_update_unreachable=flag(
            plain.get("skipUpdateUnreachable"), "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"
        ),
        upsert=flag(plain.get("upsertExistingObjects"), "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
        patch_force=flag(plain.get("enablePatchForce"), "PULUMI_K8S_ENABLE_PATCH_FORCE"),
        suppress_deprecations=flag(
            plain.get("suppressDeprecationWarnings"), "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS"
        ),
    )


def check(inputs: Mapping[str, Any]) -> list[CheckFailure]:
    """What of the inputs this adapter cannot do."""
    failures = [CheckFailure(name, why) for name, why in _UNSUPPORTED.items() if inputs.get(name)]
    if inputs.get("enableServerSideApply") in (False, "false"):
        failures.append(
            CheckFailure("enableServerSideApply", "the offline kubernetes plugin has no other way to apply")
        )
    return failures


def kubeconfig_content(given: str) -> str:
    """The content of a kubeconfig given as content or as a path.

    Raises:
        ProviderError: a path that cannot be read.
    """
    if "\n" in given.strip() or given.lstrip().startswith("{"):
        return given
    path = Path(given).expanduser()
    try:
        return path.read_text()
    except OSError as error:
        raise ProviderError(f"kubeconfig: {path}: {error.strerror}") from None


def parse_kubeconfig(content: str) -> dict[str, Any]:
    """The kubeconfig as a mapping.

    Raises:
        ProviderError: it is neither YAML nor JSON, or no mapping. The text is not quoted: it holds keys.
    """
    try:
        parsed = json.loads(content)
    except ValueError:
        import yaml  # Only for YAML: the import costs a plugin's start more than the parsing.

        try:
            parsed = yaml.safe_load(content)
        except yaml.YAMLError:
            parsed = None
    if not isinstance(parsed, dict):
        raise ProviderError("kubeconfig: the content is no kubeconfig, and no file of that name exists")
    return parsed


def _context(config: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    wanted = name or config.get("current-context")
    for entry in config.get("contexts") or []:
        if entry.get("name") == wanted:
            return entry.get("context") or {}
    return {}


def cluster(found: Settings) -> Mapping[str, Any] | None:
    """The entry of the cluster that the settings lead to; None when that is not known.

    Raises:
        ProviderError: the kubeconfig is none.
    """
    if not found.known or found.kubeconfig is None:
        return None
    config = parse_kubeconfig(found.kubeconfig)
    wanted = found.cluster or _context(config, found.context).get("cluster")
    for entry in config.get("clusters") or []:
        if entry.get("name") == wanted:
            return entry.get("cluster") or {}
    return None


def difference(olds: Mapping[str, Any], news: Mapping[str, Any]) -> Diff:
    """What a change of the provider's inputs does, as the official plugin's DiffConfig.

    A replaced provider replaces every object, so only another cluster may do that: the one that
    `clusterIdentifier` names, and where it names none, the entry of the kubeconfig. Without an identifier a
    kubeconfig that is not known yet may be another cluster's.

    Raises:
        ProviderError: a kubeconfig is none, or cannot be read.
    """
    before, after = reveal(dict(olds)), reveal(dict(news))
    changes = {
        name: Kind.UPDATE if name in before and name in after else Kind.ADD if name in after else Kind.DELETE
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    }
    replaces = {_IDENTIFIER} if changes.get(_IDENTIFIER) is Kind.UPDATE else set()
    unknown = [name for name in _LEADING if after.get(name) is UNKNOWN]
    if unknown:
        # One is told of, and nothing else.
        changes = dict.fromkeys(unknown[:1], Kind.UPDATE)
        replaces |= set(changes)
    elif changes:
        one, other = cluster(settings(before)), cluster(settings(after))
        if one is not None and other is not None and one != other:
            replaces |= set(_LEADING) & set(changes)
    if after.get(_IDENTIFIER) and before.get(_IDENTIFIER) == after.get(_IDENTIFIER):
        replaces = set()
    return Diff(changes=changes, replaces=replaces)
