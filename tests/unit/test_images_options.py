"""The list of a service's options, made by its own code: of a small service, with the oslo.config here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import oslo_config
import pytest

from images.errors import ImageError
from images.options import list_options
from images.recipe import Python

ENVIRONMENT = Path(oslo_config.__file__).parents[1]
SERVICE = """
from oslo_config import cfg, types

options = [
    cfg.StrOpt("log-dir", choices=["a", "b"], deprecated_name="logdir", deprecated_for_removal=True),
    cfg.IntOpt("workers", min=1, max=8, default=4),
    cfg.StrOpt("key", secret=True),
    cfg.MultiStrOpt("driver", deprecated_group="other", deprecated_name="driver"),
    cfg.MultiOpt("device", item_type=types.Dict()),
    cfg.MultiOpt("port", item_type=types.Integer(1, 9)),
    cfg.ListOpt("backends", item_type=types.String(choices=["x"]), bounds=True),
    cfg.DictOpt("mappings"),
]

def list_opts():
    return [(None, options), ("other", [cfg.BoolOpt("driver")])]
"""
STORAGE = """
import far.away.errors
from far import http
from oslo_config import cfg

class Download(http.Download):
    @http.util.positional(1)
    def get(self):
        return 1

class Wrong(far.away.errors.Wrong):
    pass

def list_opts():
    return [("storage", [cfg.IntOpt("size", default=Download().get())])]
"""
PLAIN = {"multi": False, "choices": [], "min": None, "max": None, "secret": False, "deprecated": False}
TEXT: dict[str, Any] = {"type": "string value", "choices": [], "min": None, "max": None}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The service's packages; of their namespaces ``storage`` needs a module that is not there."""
    for path, text in {
        "service.py": SERVICE,
        "storage.py": STORAGE,
        "service-1.dist-info/METADATA": "Name: service\nVersion: 1\n",
        "service-1.dist-info/entry_points.txt": (
            "[oslo.config.opts]\nservice = service:list_opts\nstorage = storage:list_opts\n"
        ),
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return Path(f"{tmp_path}:{ENVIRONMENT}")


def listed(site: Path, **about: Any) -> dict[str, Any]:
    return list_options("small", site, Python(option_namespaces=["service"], **about))


def test_an_option_is_named_as_in_the_environment_and_has_no_default(site: Path) -> None:
    options = listed(site)["groups"]["DEFAULT"]
    assert options["log_dir"] == {
        **PLAIN, "type": "string value", "choices": ["a", "b"], "deprecated": True
    }  # fmt: skip
    assert options["workers"] == {**PLAIN, "type": "integer value", "min": 1, "max": 8}
    assert options["key"]["secret"] is True


def test_a_name_that_is_an_options_own_was_not_renamed(site: Path) -> None:
    assert listed(site)["renamed"] == {"DEFAULT.logdir": "DEFAULT.log_dir"}


def test_of_a_sequence_the_list_says_what_each_value_may_be(site: Path) -> None:
    options = listed(site)["groups"]["DEFAULT"]
    assert options["driver"] == {**PLAIN, "type": "string value", "multi": True}
    assert options["port"] == {**PLAIN, "type": "integer value", "multi": True, "min": 1, "max": 9}
    of_dict = {"type": "dict value", "item": TEXT, "bounds": False}
    assert options["device"] == {**PLAIN, **of_dict, "multi": True}
    assert options["mappings"] == {**PLAIN, **of_dict}
    assert options["backends"] == {
        **PLAIN, "type": "list value", "item": {**TEXT, "choices": ["x"]}, "bounds": True
    }  # fmt: skip


def test_groups_of_a_recipe_have_the_options_that_it_names(site: Path) -> None:
    groups = listed(site, option_groups={"backend": "other"}, password_groups=["login"])["groups"]
    assert groups["backend"] == groups["other"]
    assert groups["login"]["password"] == {**PLAIN, "type": "string value", "secret": True}
    assert {"auth_type", "auth_url", "username", "user_domain_name"} <= groups["login"].keys()
    with pytest.raises(ImageError, match="image small: its option_groups name nothing, which is not listed"):
        listed(site, option_groups={"backend": "nothing"})


def test_a_namespace_that_no_package_has_is_an_error(site: Path) -> None:
    """oslo.config's own generator warns of it on stderr, and lists less."""
    python = Python(option_namespaces=["service", "oslo.misspelt"])
    with pytest.raises(ImageError, match=r"image small: .*no package has the options oslo\.misspelt$"):
        list_options("small", site, python)


def test_a_module_that_the_list_needs_and_the_service_does_not_is_stubbed(site: Path) -> None:
    with pytest.raises(ImageError, match="No module named 'far'"):
        list_options("small", site, Python(option_namespaces=["storage"]))
    found = list_options("small", site, Python(option_namespaces=["storage"], stubs=["far"]))
    assert found["groups"]["storage"]["size"]["type"] == "integer value"


def test_a_stub_stands_in_for_no_module_that_is_there(site: Path) -> None:
    assert listed(site, stubs=["service", "oslo_config"]) == listed(site)
