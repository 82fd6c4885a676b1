"""The provider's own inputs, and the kubeconfig among them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.provider import CheckFailure
from toolchain.plugins.common.values import UNKNOWN, has_unknown, reveal

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


def server(inputs: Mapping[str, Any]) -> str | None:
    """The API server's URL that the inputs lead to; None when that is not known."""
    try:
        found = settings(inputs)
        if not found.known or found.kubeconfig is None:
            return None
        config = parse_kubeconfig(found.kubeconfig)
    except ProviderError:
        return None
    wanted = found.cluster or _context(config, found.context).get("cluster")
    for entry in config.get("clusters") or []:
        if entry.get("name") == wanted:
            return str((entry.get("cluster") or {}).get("server"))
    return None
