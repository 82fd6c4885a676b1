"""Whether the cloud serves, asked as a user asks: a deployment that changed nothing has not looked."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from toolchain.workspace.stack import StackError

# All servers that lost their power at once serve again after 96 s (docs/reliability.md).
PATIENCE_SECONDS = 300
_ANSWER_SECONDS = 10
_SUFFIX = "_endpoint_override"


def problem(clouds: Path, cloud: str = "jarvis") -> str:
    """What is wrong with the ``cloud`` of the file ``clouds``, or nothing: its administrator gets a token,
    and each endpoint answers."""
    settings: dict[str, Any] = yaml.safe_load(clouds.read_text(encoding="utf-8"))["clouds"][cloud]
    auth = settings["auth"]
    user = {
        "name": auth["username"],
        "password": auth["password"],
        "domain": {"name": auth["user_domain_name"]},
    }
    scope = {"project": {"name": auth["project_name"], "domain": {"name": auth["project_domain_name"]}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    trust = ssl.create_default_context(cafile=settings["cacert"])
    asked: dict[str, tuple[str, Mapping[str, Any] | None]] = {
        "tokens": (f"{auth['auth_url']}/auth/tokens", body)
    }
    for key, url in settings.items():
        if key.endswith(_SUFFIX):
            asked[key.removesuffix(_SUFFIX)] = (url, None)
    for what, (url, content) in asked.items():
        wrong = _refused(url, content, trust)
        if wrong:
            return f"{what}: {wrong}"
    return ""


def _refused(url: str, content: Mapping[str, Any] | None, trust: ssl.SSLContext) -> str:
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        # Never by a proxy of the operator's shell, which is for the internet.
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        direct.open(request, timeout=_ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        # Versions are answered with 300.
        return f"status {error.code}" if error.code >= 400 else ""
    except OSError as error:
        return str(getattr(error, "reason", error))
    return ""


def wait_until_served(
    clouds: Path, say: Callable[[str], None], patience: float = PATIENCE_SECONDS, pause: float = 1.0
) -> None:
    """Waits until nothing is wrong with the cloud, and says so where that takes a while.

    Raises ``StackError`` after ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    told = ""
    while wrong := problem(clouds):
        if time.monotonic() > deadline:
            raise StackError(
                f"the cloud does not serve ({wrong}); look at: kubectl get pods -A, python -m lab status"
            )
        if wrong != told:
            say(f"The cloud does not serve yet ({wrong}); waiting, for {patience:.0f} s at most …")
            told = wrong
        time.sleep(pause)
