"""Accounts of services in Keystone, and how services log in and check tokens by them, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from jarvis.config.types import Option

# Where services' accounts are, and the role that lets them check the tokens of others and no more.
PROJECT = "service"
DOMAIN = "Default"
ROLE = "service"
# Seconds after which a service gives up a question to Keystone: of a gateway that lost its power nothing more
# is heard, and services wait for ever by default. A validation takes a tenth of a second, and seconds where a
# server has just come back and all its processes start at once.
ANSWER_SECONDS = 10
# The group by which tokens are checked (keystonemiddleware), that by which limits are read (oslo.limit), and
# that of a token which goes along with a user's (keystoneauth's ServiceTokenAuthWrapper).
_TOKENS, _LIMITS, _ALONG = "keystone_authtoken", "oslo_limit", "service_user"


def account(service: str, rotation: int) -> str:
    """The account of ``service`` after ``rotation`` rotations."""
    return f"{service}-2" if rotation % 2 else service


def account_options(
    *, service: str, kind: str, url: str, region: str, authority: str, rotation: int, groups: Sequence[str]
) -> dict[str, Option]:
    """How a service logs in to Keystone. Its password comes by itself.

    Args:
        service: its name.
        kind: its type in the catalogue of endpoints.
        url: of Keystone.
        region: its region.
        authority: path of the authority that has signed for Keystone.
        rotation: of its account.
        groups: groups of options by which it logs in.
    """
    login: dict[str, Option] = {
        "auth_type": "password",
        "auth_url": url,
        "cafile": authority,
        "region_name": region,
        "username": account(service, rotation),
        "user_domain_name": DOMAIN,
        "project_name": PROJECT,
        "project_domain_name": DOMAIN,
    }
    options: dict[str, Option] = {
        f"{group}.{name}": value for group in groups for name, value in login.items()
    }
    if _ALONG in groups:
        # It asks no endpoint but Keystone's, and has no region.
        del options[f"{_ALONG}.region_name"]
        options[f"{_ALONG}.send_service_user_token"] = True
    if _TOKENS in groups:
        options |= {
            f"{_TOKENS}.www_authenticate_uri": url,
            f"{_TOKENS}.service_type": kind,
            # Of the whole answer, whatever the name says (keystonemiddleware gives it to its session).
            f"{_TOKENS}.http_connect_timeout": ANSWER_SECONDS,
            # The default lets every user pose as a service.
            f"{_TOKENS}.service_token_roles_required": True,
        }
    if _LIMITS in groups:
        options |= {
            f"{_LIMITS}.timeout": ANSWER_SECONDS,
            f"{_LIMITS}.endpoint_service_type": kind,
            f"{_LIMITS}.endpoint_region_name": region,
        }
    return options
