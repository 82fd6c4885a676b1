"""The file by which the client of OpenStack knows the cloud, as a pure function."""

from __future__ import annotations

from typing import Any

import yaml


def clouds_yaml(
    *,
    cloud: str,
    url: str,
    region: str,
    username: str,
    password: str,
    project: str,
    authority_file: str,
    endpoints: dict[str, str] | None = None,
) -> str:
    """A ``clouds.yaml`` with one cloud.

    Args:
        cloud: its name.
        url: of Keystone, ``/v3`` included.
        region: name of the region.
        username: of who uses it.
        password: likewise.
        project: likewise.
        authority_file: path of the gateway's authority in PEM.
        endpoints: URLs by type of service, such as ``identity``, used in place of the catalogue's: for a
            machine where the catalogue's names are not in DNS.
    """
    content: dict[str, Any] = {
        "auth": {
            "auth_url": url,
            "username": username,
            "password": password,
            "project_name": project,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        "region_name": region,
        "identity_api_version": 3,
        "interface": "public",
        "cacert": authority_file,
        **{f"{kind.replace('-', '_')}_endpoint_override": each for kind, each in (endpoints or {}).items()},
    }
    return yaml.safe_dump({"clouds": {cloud: content}}, sort_keys=False)
