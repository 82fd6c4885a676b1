"""Takes a service that is turned off out of Keystone: its endpoints and accounts.

Its entry stays and is disabled, so that no catalogue shows it: the limits that projects were given belong to
it, and are there again when the service is turned on. Runs beside ``register.py``, in a Job; safe to run any
number of times.

OS_AUTH_URL OS_CACERT OS_USERNAME OS_PASSWORD OS_PROJECT_NAME the administrator
REGISTER_NAME REGISTER_TYPE REGISTER_URL REGISTER_REGION      the service, as users saw it
REGISTER_ACCOUNTS                                             its accounts, with blanks in between
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

try:
    from jarvis.openstack.build.tasks import register
except ImportError:  # in the Job, where both lie in one folder
    import register  # type: ignore[no-redef, import-not-found]


def unregister(keystone: register.Keystone, environment: Mapping[str, str]) -> None:
    """Does all of it. ``environment``: as described above."""
    name, kind = environment["REGISTER_NAME"], environment["REGISTER_TYPE"]
    url = environment["REGISTER_URL"]
    for service in keystone.find("services", name=name, type=kind):
        for endpoint in keystone.find("endpoints", service_id=service["id"]):
            if endpoint["url"] == url:
                keystone.call("DELETE", f"/endpoints/{endpoint['id']}")
                register.say("INFO", f"removed the endpoint {endpoint['interface']} of {name}")
        if not keystone.find("endpoints", service_id=service["id"]):
            register.mend(keystone, "services", service, enabled=False)
    for account in environment["REGISTER_ACCOUNTS"].split():
        for user in keystone.find("users", name=account, domain_id="default"):
            keystone.call("DELETE", f"/users/{user['id']}")
            register.say("INFO", f"removed the account {account}")
    register.say("INFO", f"{name} is not registered")


def main() -> int:
    """0 when nothing is left to take out; 1 and one line of why, after which the Job tries again."""
    environment = os.environ
    keystone = register.Keystone(environment["OS_AUTH_URL"], environment.get("OS_CACERT"))
    try:
        keystone.token = register.login(keystone, environment)
        unregister(keystone, environment)
    except OSError as error:
        # An answer of 400 and above is one too (urllib.error.HTTPError).
        register.say("ERROR", f"{keystone.url}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
