"""Keystone judges each request by its own token, however many are served beside it."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
import yaml
from deployment import Cloud
from own_token import Found, Keystone, escalations, mixtures

# With four threads a process some thirty of 1,200 escalations went through in 75 s, and a fifth of the
# credentials had another's roles: a third of that time is enough to see several.
SECONDS = 30


@pytest.mark.parametrize("question", [escalations, mixtures])
def test_no_request_is_judged_by_the_token_of_another(
    cloud: Cloud, question: Callable[[Keystone, float], Found]
) -> None:
    auth = yaml.safe_load(cloud.stack.workspace.clouds.read_text())["clouds"]["jarvis"]["auth"]
    trust = ssl.create_default_context(cafile=str(cloud.authority))
    found = question(Keystone(auth["auth_url"], auth, trust), SECONDS)
    assert found.wrong == []
    assert set(found.right) == found.asked, "each was asked, and answered"
