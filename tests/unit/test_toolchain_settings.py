# ruff: noqa: E501  # recorded lines
"""What programs say that they can be told: recorded help texts, and a program that decodes strictly."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from toolchain import settings
from toolchain.errors import ToolchainError

# Of kube-apiserver 1.37.2 and kubelet 1.37.2, a line of each form.
HELP = """\
The Kubernetes API server validates and configures data

Usage:
  kube-apiserver [flags]

Generic flags:

      --advertise-address ip                               The IP address on which to advertise the apiserver.
      --cors-allowed-origins strings                       List of allowed origins for CORS, '^https://example\\.com(:|$)'
      --emulated-version strings                           The versions different components emulate.
                                                           Options are: kube=1.34..1.37(default:1.37)
      --feature-gates colonSeparatedMultimapStringString   Comma-separated list of component:key=value pairs.
                                                           kube:APIResponseCompression=true|false (BETA - default=true)
                                                           kube:AllAlpha=true|false (ALPHA - default=false)
      --goaway-chance float                                To prevent HTTP/2 clients from getting stuck
      --profiling                                          Enable profiling via web interface (default true)
  -h, --help                                               help for kube-apiserver
  -v, --v Level                                            number for the log level verbosity
      --version version[=true]                             --version, --version=raw prints version information
      --strict-decoding-of-a-name-as-long-as-the-column int
"""
KUBELET_GATES = """\
      --feature-gates mapStringBool                              A set of key=value pairs
                APIServerIdentity=true|false (BETA - default=true)
                AllBeta=true|false (BETA - default=false)
"""
# Of etcd 3.6.16, whose help is written by hand.
ETCD = """\
Usage:

  etcd --version
    Show the version of etcd.

Member:
  --name 'default'
    Human-readable name for this member.
  --quota-backend-bytes '0'
    Sets the maximum size.
  --memory-mlock
    Enable to enforce etcd pages to stay in RAM.
  --auto-compaction-retention '0'
    Auto compaction retention length. --auto-compaction-mode says of what.
  --grpc-keepalive-timeout '20s'
    Additional duration of wait.
"""


def test_flags_of_a_help_text() -> None:
    assert settings.help_flags(HELP) == {
        "advertise-address": "ip",
        "cors-allowed-origins": "strings",
        "emulated-version": "strings",
        "feature-gates": "colonSeparatedMultimapStringString",
        "goaway-chance": "float",
        "profiling": "bool",
        "help": "bool",
        "v": "Level",
        "version": "version",
        "strict-decoding-of-a-name-as-long-as-the-column": "int",
    }


def test_features_of_a_help_text() -> None:
    assert settings.feature_gates(HELP) == ["APIResponseCompression", "AllAlpha"]
    assert settings.feature_gates(KUBELET_GATES) == ["APIServerIdentity", "AllBeta"]


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!{sys.executable} -S\n{body}")
    path.chmod(0o755)
    return path


# As Go's flag package answers, after the first value that does not parse.
FAKE_ETCD = f"""
import re, sys
KINDS = {{
    "name": r".*", "auto-compaction-retention": r".*", "quota-backend-bytes": r"-?[0-9]+",
    "memory-mlock": r"true|false|1|0", "grpc-keepalive-timeout": r"[0-9.]+s",
}}
if sys.argv[1:] == ["--help"]:
    print({ETCD!r})
    sys.exit()
for word in sys.argv[1:]:
    name, _, value = word.removeprefix("--").partition("=")
    if name not in KINDS:
        sys.exit(f"flag provided but not defined: -{{name}}")
    if not re.fullmatch(KINDS[name], value):
        sys.exit(f'invalid value "{{value}}" for flag -{{name}}: parse error')
raise SystemExit("started!")
"""


def test_etcd_says_of_what_type_a_flag_is(tmp_path: Path) -> None:
    assert settings.etcd_flags(ETCD, program(tmp_path / "etcd", FAKE_ETCD)) == {
        "name": "string",
        "quota-backend-bytes": "int",
        "memory-mlock": "bool",
        "auto-compaction-retention": "string",
        "grpc-keepalive-timeout": "duration",
    }


# As the kubelet answers (1.37.2): a value of a wrong type ends it, unknown fields are told, a hundred at most,
# and then the guard ends it.
FAKE_KUBELET = """
import json, re, sys
# json:"apiVersion,omitempty" json:"kind" json:"nodeLeaseDurationSeconds" json:"maxPods" json:"failSwapOn"
# json:"syncFrequency" json:"clusterDNS" json:"evictionHard" json:"taints" json:"logging" json:"format" json:"key"
# json:"mode" json:"size" json:"other" json:"limits" json:"items" json:"options"
TYPES = {
    "KubeletConfiguration": {
        "apiVersion": "string", "kind": "string", "nodeLeaseDurationSeconds": "int32", "maxPods": "int32",
        "failSwapOn": "bool", "syncFrequency": "v1.Duration", "clusterDNS": "[]string",
        "evictionHard": "map[string]string", "taints": "[]v1.Taint", "logging": "v1.Logging",
        "mode": "v1.Mode", "size": "resource.Quantity", "limits": "v1.ResourceList", "items": "[]v1.ResourceList",
    },
    "v1.Taint": {"key": "string"},
    "v1.Logging": {"format": "string", "options": "v1.Options"},
    "v1.Options": {"size": "int64"},
}
unknown = []
def end(text):
    sys.exit(f'E1127 "command failed" err="failed to decode: {text}"')
def name(value):
    return {bool: "bool", str: "string", list: "array", dict: "object", int: "number"}[type(value)]
def wrong(value, kind, field):
    end(f"json: cannot unmarshal {name(value)} into Go struct field X.{field} of type {kind}")
def decode(value, kind, field):
    if value is None:
        return end('time: invalid duration \\"\\"') if kind == "v1.Duration" else None
    if kind in TYPES:
        if not isinstance(value, dict):
            wrong(value, kind, field)
        for key, each in value.items():
            here = f"{field}.{key}".lstrip(".")
            if key in TYPES[kind]:
                decode(each, TYPES[kind][key], here)
            elif len(unknown) < 100:
                unknown.append(f'unknown field \\\\"{here}\\\\"')
    elif kind.startswith("[]"):
        if not isinstance(value, list):
            wrong(value, kind, field)
        for at, each in enumerate(value):
            decode(each, kind[2:], f"{field}[{at}]")
    elif kind.startswith("map["):
        if not isinstance(value, dict):
            wrong(value, kind, field)
    elif kind in ("v1.Duration", "resource.Quantity"):
        if not isinstance(value, str):
            wrong(value, "string" if kind == "v1.Duration" else kind, field)
        end('time: invalid duration \\\\"x\\\\"' if kind == "v1.Duration" else "quantities must match the regular")
    elif kind == "v1.ResourceList":
        isinstance(value, dict) or wrong(value, kind, field)
    elif kind == "v1.Mode":
        isinstance(value, str) or wrong(value, kind, field)
    elif not isinstance(value, {"string": str, "bool": bool}.get(kind, int)) or kind != "bool" and value is True:
        wrong(value, kind, field)
if sys.argv[1:] == ["--help"]:
    sys.exit()
document = json.load(open(sys.argv[2]))
decode(document, "KubeletConfiguration", "")
if unknown:
    print('"Using lenient decoding as strict decoding failed" err="strict decoding error: ' + ", ".join(unknown))
if document.get("nodeLeaseDurationSeconds") == -1:
    sys.exit("failed to validate kubelet configuration")
open(sys.argv[0] + ".started", "w")
"""


def test_a_program_says_which_fields_it_has_and_never_starts(tmp_path: Path) -> None:
    kubelet = program(tmp_path / "kubelet", FAKE_KUBELET)
    found = settings.Asker(kubelet, settings.KINDS[0]).fields()
    assert {name: kind for name, kind in found.items() if name not in ("apiVersion", "kind")} == {
        "nodeLeaseDurationSeconds": "int32",
        "maxPods": "int32",
        "failSwapOn": "bool",
        "syncFrequency": "duration",
        "clusterDNS": ["string"],
        "evictionHard": "map[string]string",
        "taints": [{"key": "string"}],
        "logging": {"format": "string", "options": {"size": "int64"}},
        "mode": "string",
        "size": "unknown",
        "limits": "unknown",
        "items": "unknown",
    }
    assert not (tmp_path / "kubelet.started").exists()


def test_a_program_that_does_not_tell_is_an_error(tmp_path: Path) -> None:
    silent = program(tmp_path / "kubelet", '# json:"maxPods"\n')
    with pytest.raises(ToolchainError, match="kubelet does not say which fields KubeletConfiguration has"):
        settings.Asker(silent, settings.KINDS[0]).fields()
    with pytest.raises(ToolchainError, match="the help of etcd names no flag"):
        settings.list_settings({"etcd": silent})


def test_the_list_of_a_release_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def make(files: object) -> dict[str, object]:
        made.append(files)
        return {"flags": {}}

    monkeypatch.setattr(settings, "list_settings", make)
    one = settings.settings_list(tmp_path, "a" * 64, {})
    assert settings.settings_list(tmp_path, "a" * 64, {}) == one
    assert json.loads(one.read_text()) == {"flags": {}}
    assert len(made) == 1
