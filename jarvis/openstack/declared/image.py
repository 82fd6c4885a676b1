"""Images of Glance."""

from __future__ import annotations

import contextlib
import os
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from jarvis.config.types import Keys, Spelled, Text, refusal
from jarvis.openstack.declared.model import (
    DeclaredObject,
    Domain,
    Kind,
    Name,
    Reference,
    ShortName,
    Source,
)
from jarvis.openstack.declared.program import (
    DEFAULT_DOMAIN,
    UNFINISHED,
    Items,
    Json,
    Refusal,
    compare,
    digests,
    key_of,
    open_file,
)

_PROPERTY = Spelled(
    r"(?!os_glance_|owner_specified\.)[A-Za-z0-9_][A-Za-z0-9_.:-]{0,254}",
    "the name of a property, such as hw_disk_bus, and none that Glance or its clients write themselves",
)


class Image(DeclaredObject):
    """An image. Its content is what ``sha256`` says, and never changes: another content is another image."""

    name: Name
    project: ShortName | None = Field(default=None, description="that owns it; else the administrator's")
    project_domain: Domain = DEFAULT_DOMAIN
    url: (
        Annotated[str, Spelled(r"https?://[^\s/]+/\S*", "a URL such as https://example.org/disk.qcow2")]
        | None
    ) = Field(default=None, description="from where the operator's machine fetches it")
    file: str | None = Field(
        default=None, min_length=1, description="path on the operator's machine, relative to the project"
    )
    sha256: Annotated[str, Spelled("[0-9a-f]{64}", "a SHA-256 of 64 hexadecimal digits, in lower case")]
    format: Literal["raw", "qcow2"] = Field(description="of the file; Ceph clones raw ones alone")
    visibility: Literal["public", "private", "shared", "community"] = "public"
    hidden: bool = Field(default=False, description="not in the lists that users see by default")
    protected: bool = Field(default=False, description="Glance lets nobody remove it")
    min_disk_gib: int = Field(default=0, ge=0)
    min_ram_mib: int = Field(default=0, ge=0)
    properties: Annotated[dict[str, Text], Keys(_PROPERTY)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        mistakes: list[tuple[tuple[str | int, ...], str]] = []
        if (self.url is None) == (self.file is None):
            mistakes.append((("url",), "an image has one of url and file"))
        if "project_domain" in self.model_fields_set and self.project is None:
            mistakes.append((("project_domain",), "there is no project here that could be in a domain"))
        for name in self.properties:
            if name in Images.own:
                mistakes.append(
                    (("properties", name), "is no property but a field of the image itself: remove it")
                )
        if mistakes:
            raise refusal("Image", mistakes)
        return self

    def key(self) -> str:
        """What it is called; with its project, where that is not the administrator's."""
        if self.project is None:
            return key_of("image", self.name)
        return f"{key_of('image', self.project, self.project_domain)}/{self.name}"

    def where(self, admin_project: str) -> dict[str, Any]:
        """What it is found by: its name, and the project that owns it."""
        owner = [self.project or admin_project, self.project_domain]
        return {"name": self.name, "project": owner}

    def fields(self) -> dict[str, Any]:
        """What it has."""
        return {
            "format": self.format,
            "visibility": self.visibility,
            "hidden": self.hidden,
            "protected": self.protected,
            "min_disk_gib": self.min_disk_gib,
            "min_ram_mib": self.min_ram_mib,
            "properties": dict(sorted(self.properties.items())),
        }

    def references(self) -> list[Reference]:
        """The project that owns it."""
        if self.project is None:
            return []
        return [Reference(kind="project", name=self.project, domain=self.project_domain, field="project")]

    def source(self) -> Source:
        """Its content."""
        return Source(file=self.file, url=self.url, sha256=self.sha256, format=self.format)


class Images(Items):
    """Images in Glance's API: changed by JSON patches, and uploaded apart.

    Attributes:
        own: the fields of an image that are no properties (Glance's schema of an image).
        names: fields as the API names them, by those that are declared.
    """

    service, path = "image", "/v2/images"
    own = frozenset(
        (
            "id",
            "name",
            "status",
            "visibility",
            "protected",
            "checksum",
            "owner",
            "size",
            "virtual_size",
            "container_format",
            "disk_format",
            "created_at",
            "updated_at",
            "tags",
            "direct_url",
            "min_ram",
            "min_disk",
            "self",
            "file",
            "locations",
            "schema",
            "os_hash_algo",
            "os_hash_value",
            "os_hidden",
            "stores",
        )
    )
    names = {
        "format": "disk_format",
        "visibility": "visibility",
        "hidden": "os_hidden",
        "protected": "protected",
        "min_disk_gib": "min_disk",
        "min_ram_mib": "min_ram",
    }

    def find(self, where: Json) -> Json | None:
        """The image of this name and owner, which other lists may not have: a hidden or a community one."""
        owner = self.cloud.id_of("project", *where["project"])
        known = {"name": where["name"], "owner": owner}
        found = []
        for hidden in ("false", "true"):
            listed = self.cloud.get(self.service, self.path, visibility="all", os_hidden=hidden, **known)
            found += [one for one in listed["images"] if known.items() <= one.items()]
        return self.only(found)

    def read(self, item: Json) -> Json:
        """Its fields and properties, and as ``content`` what Glance knows of that."""
        theirs = {
            name: value
            for name, value in item.items()
            if name not in self.own and not name.startswith(("os_glance_", "owner_specified."))
        }
        content = {
            "status": item["status"],
            "algorithm": item.get("os_hash_algo"),
            "value": item.get("os_hash_value"),
            "size": item.get("size"),
        }
        fields = {name: item.get(api) for name, api in self.names.items()}
        return {**fields, "properties": dict(sorted(theirs.items())), "content": content}

    @staticmethod
    def differences(wanted: Json, live: Json) -> Json:
        """As of any object; and its content, as far as both sides know of it."""
        found = compare(wanted["fields"], live)
        right, now = wanted.get("content") or {}, live["content"]
        if now["status"] != "active":
            found[UNFINISHED] = f"content is missing (status {now['status']})"
        elif now["algorithm"] in right:
            if now["value"] != right[now["algorithm"]]:
                found["content"] = "content is another than that of sha256"
        elif right and now["size"] != right["size"]:
            found["content"] = f"content has {now['size']} bytes, not {right['size']}"
        return found

    def prepare(self, wanted: Json) -> Json:
        """``wanted`` with the digests of its file, which Glance has one of."""
        content = self._check(wanted, "sha512")
        return {**wanted, "content": {**content, "size": os.path.getsize(wanted["source"]["path"])}}

    def make(self, wanted: Json) -> None:
        """Makes the image and uploads its file, whose digest is compared before."""
        self._check(wanted)
        owner = self.cloud.id_of("project", *wanted["where"]["project"])
        fields = {self.names[name]: value for name, value in wanted["fields"].items() if name in self.names}
        # What is protected could not be taken back, should the upload fail.
        late = fields.pop("protected")
        body = {
            "name": wanted["where"]["name"],
            "owner": owner,
            "container_format": "bare",
            **fields,
            **wanted["fields"]["properties"],
        }
        item, _ = self.cloud.call(self.service, "POST", self.path, body)
        try:
            self._upload(item, wanted)
        except BaseException:
            with contextlib.suppress(OSError):
                self.cloud.call(self.service, "DELETE", f"{self.path}/{item['id']}")
            raise
        if late:
            self._patch(item, [{"op": "replace", "path": "/protected", "value": late}])

    def change(self, item: Json, wanted: Json, wrong: Json) -> None:
        """Changes fields and properties; an image without its content is made anew."""
        if UNFINISHED in wrong:
            if item["status"] not in ("queued", "killed"):
                raise Refusal(f"{wrong[UNFINISHED]}: somebody uploads it; type: pulumi up once that is over")
            self._check(wanted)
            self.remove(item)
            self.make(wanted)
            return
        changes = []
        for name in wrong:
            field, _, key = name.partition(".")
            if field != "properties":
                value = wanted["fields"][field]
                changes.append({"op": "replace", "path": f"/{self.names[field]}", "value": value})
            elif key not in wanted["fields"]["properties"]:
                changes.append({"op": "remove", "path": f"/{key}"})
            else:
                value = wanted["fields"]["properties"][key]
                changes.append({"op": "replace" if key in item else "add", "path": f"/{key}", "value": value})
        self._patch(item, changes)

    def remove(self, item: Json) -> None:
        """Removes it, and before that Glance's own protection of it."""
        if item.get("protected"):
            self._patch(item, [{"op": "replace", "path": "/protected", "value": False}])
        self.cloud.call(self.service, "DELETE", f"{self.path}/{item['id']}")

    def done(self, wanted: Json) -> None:
        """Removes the file from this server."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(wanted["source"]["path"])

    def _check(self, wanted: Json, *algorithms: str) -> Json:
        """The digests of its file by SHA-256, which has to be right, and by ``algorithms``."""
        path, right = wanted["source"]["path"], wanted["source"]["sha256"]
        found: Json = {}
        with contextlib.suppress(FileNotFoundError):
            found = {**digests(path, "sha256", *algorithms)}
        if found.get("sha256") != right:
            what = f"has the sha256 {found['sha256']}, not {right}" if found else "is not there"
            again = f"pulumi up --replace '**CopyToRemote::{wanted['key']}'"
            raise Refusal(f"its file {path} {what}; type: {again}")
        return found

    def _upload(self, item: Json, wanted: Json) -> None:
        file, size = open_file(wanted["source"]["path"])
        with file:
            # Ceph may take minutes, and Glance is silent then.
            self.cloud.call(
                self.service,
                "PUT",
                f"{self.path}/{item['id']}/file",
                file,
                kind="application/octet-stream",
                size=size,
                seconds=900,
            )
        now = self.cloud.get(self.service, f"{self.path}/{item['id']}")
        if now["status"] != "active":
            raise Refusal(f"Glance did not take its content (status {now['status']})")

    def _patch(self, item: Json, changes: list[Json]) -> None:
        kind = "application/openstack-images-v2.1-json-patch"
        self.cloud.call(self.service, "PATCH", f"{self.path}/{item['id']}", changes, kind=kind)


IMAGE = Kind(
    name="image",
    section="images",
    service="glance",
    settings=Image,
    api=Images,
    loses="with its content",
    fixed=("format", "content"),
)
