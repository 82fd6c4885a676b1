"""Keystone, the identity service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from jarvis.config.service import RotationSchedule, ServiceSettings
from jarvis.config.types import Spelled
from jarvis.openstack.model import (
    Context,
    Database,
    KeystoneUse,
    Memory,
    Migration,
    Options,
    Queue,
    ServiceDefinition,
    Web,
)
from jarvis.openstack.rings import max_active_keys, shortest

# Keystone's own defaults, in seconds (its reference, section [token]).
EXPIRATION = 3600
ALLOW_EXPIRED_WINDOW = 172_800
FERNET = "/etc/keystone/fernet-keys"
CREDENTIAL = "/etc/keystone/credential-keys"
# Keystone's own list, and one more: at each token it would warn that its keys' folder is readable by others.
# A Secret's folder always is, inside a container where there are no others; the keys themselves are not.
_LOG_LEVELS = (
    "amqp=WARN",
    "amqplib=WARN",
    "sqlalchemy=WARN",
    "oslo.messaging=INFO",
    "oslo_messaging=INFO",
    "iso8601=WARN",
    "requests.packages.urllib3.connectionpool=WARN",
    "urllib3.connectionpool=WARN",
    "routes.middleware=WARN",
    "stevedore=WARN",
    "dogpile=INFO",
    "oslo.cache=INFO",
    "keystone.common.fernet_utils=ERROR",
)
# Parts of Keystone whose cached answers would have a time of their own, of up to an hour.
CACHED = ("domain_config", "identity", "receipt", "revoke")


class KeystoneSettings(ServiceSettings):
    """The identity service."""

    admin_user: Annotated[str, Spelled(".{1,255}", "a name of 1 to 255 characters")] = "admin"
    admin_project: Annotated[str, Spelled(".{1,64}", "a name of 1 to 64 characters")] = "admin"
    fernet_rotation: RotationSchedule = Field(default="daily", description="of the keys that encrypt tokens")
    credential_rotation: RotationSchedule = Field(default="monthly", description="of those for credentials")


def lifetime(settings: KeystoneSettings) -> tuple[int, int]:
    """Seconds that a token may be used, and seconds after that in which a service may still read it."""
    return (
        number(settings, "token.expiration", EXPIRATION),
        number(settings, "token.allow_expired_window", ALLOW_EXPIRED_WINDOW),
    )


def number(settings: KeystoneSettings, name: str, default: int) -> int:
    """The operator's value of an option; the ``default`` too where it is none, which the check then tells."""
    text = str(settings.options.get(name, default))
    return int(text) if text.isdigit() else default


def _options(context: Context[KeystoneSettings]) -> Options:
    expiration, window = lifetime(context.settings)
    keys = max_active_keys(
        expiration=expiration,
        allow_expired_window=window,
        rotation=shortest(context.settings.fernet_rotation),
    )
    return {
        "DEFAULT.default_log_levels": ",".join(_LOG_LEVELS),
        # bcrypt reads no more of a password, and Keystone would say so at each.
        "identity.max_password_length": 72,
        "fernet_tokens.key_repository": FERNET,
        "fernet_tokens.max_active_keys": keys,
        # Receipts of a half-done authentication are encrypted by the same ring.
        "fernet_receipts.key_repository": FERNET,
        "fernet_receipts.max_active_keys": keys,
        "credential.key_repository": CREDENTIAL,
    }


KEYSTONE = ServiceDefinition(
    name="keystone",
    title="Keystone",
    what="the identity service",
    settings=KeystoneSettings,
    user=42424,
    processes={
        "api": Web(
            module="keystone.wsgi.api:application",
            port=5000,
            host="identity",
            whole=True,
            memory=Memory(task=768),
        )
    },
    databases=[Database(name="keystone")],
    queues=[Queue(name="keystone")],
    cached=CACHED,
    keystone=KeystoneUse(kind="identity", path="/v3", account=False),
    migrations=[
        Migration(
            expand=["keystone-manage", "db_sync", "--expand"],
            contract=["keystone-manage", "db_sync", "--contract"],
        )
    ],
    options=_options,
)
