"""apply.sh: the files of a role as they were asked for, changed only where they differ, and its units."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.fakes import FILES, Commands, owner_of

# What only root may do: `make test`, which is root's, does it.
for_root = pytest.mark.skipif(os.getuid() != 0, reason="gives files to others, which needs root")


class Role:
    """A role below a folder of this machine; systemd is a fake, by which every unit runs."""

    def __init__(self, folder: Path) -> None:
        self.base, self.etc = folder / "base", folder / "etc"
        self.commands = Commands(folder / "bin")
        self.commands.add("systemctl")
        self.commands.stage_here()
        self.owner = owner_of(folder)
        self.files: dict[str, tuple[str, str, str]] = {}
        self.extra = ""
        self.environment: dict[str, str] = {}

    def file(self, name: str, content: str, mode: str = "0644", owner: str = "") -> Path:
        """Asks for a file, from now on; its owner is whose the folder is, where nothing else is said."""
        self.files[name] = (content, mode, owner or self.owner)
        return self.etc / name

    def bundle(self) -> str:
        text = self.extra
        for name, (content, mode, owner) in self.files.items():
            text += f"file {mode} {owner} {self.etc / name}\n"
            text += "".join(f"|{line}\n" for line in content.split("\n"))
        return text

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", 'exec bash "$0" web 3<<<"$BUNDLE"', str(FILES / "apply.sh")],
            env={
                "PATH": f"{self.commands.folder}:{os.environ['PATH']}",
                "JARVIS_BASE": str(self.base),
                "BUNDLE": self.bundle(),
                **self.environment,
            },
            input="",
            capture_output=True,
            text=True,
            check=False,
        )

    def apply(self) -> None:
        done = self.run()
        assert done.returncode == 0, done.stderr

    def restarts(self) -> int:
        return len(self.commands.calls("systemctl restart"))


def look(path: Path) -> tuple[str, str, str]:
    about = path.stat()
    return path.read_text(), f"{about.st_mode & 0o7777:04o}", owner_of(path)


@pytest.fixture
def role(tmp_path: Path) -> Role:
    tmp_path.chmod(0o755)
    return Role(tmp_path)


def test_files_have_the_content_mode_and_owner_that_was_asked_for(role: Role) -> None:
    role.extra = f"dir 0750 {role.owner} {role.etc}/private\n"
    for number in range(20):
        role.file(f"{number % 3}/deep/{number}.conf", f"number {number}\n  \\n $HOME \t`true` é\n")
    role.file("empty", "")
    role.file("private/key", "a\n\nb", mode="0400")
    role.file("private/tool", "#!/bin/sh", mode="0755")
    role.apply()
    for name, (content, mode, owner) in role.files.items():
        assert look(role.etc / name) == (f"{content}\n", mode, owner), name
    assert (role.etc / "0" / "deep").stat().st_mode & 0o777 == 0o755
    assert (role.etc / "private").stat().st_mode & 0o777 == 0o750


@for_root
def test_files_and_folders_are_given_to_others(role: Role) -> None:
    role.extra = f"dir 0750 root:daemon {role.etc}/private\n"
    key = role.file("private/key", "text", mode="0400", owner="daemon:daemon")
    role.apply()
    assert look(key) == ("text\n", "0400", "daemon:daemon")
    assert owner_of(key.parent) == "root:daemon"
    os.chown(key, 0, 0)
    role.apply()
    assert owner_of(key) == "daemon:daemon"


def test_what_is_as_it_should_be_is_not_written_again(role: Role) -> None:
    same, other = role.file("same", "one"), role.file("other", "one")
    role.apply()
    before = same.stat().st_ino, other.stat().st_ino
    role.file("other", "two")
    role.apply()
    assert same.stat().st_ino == before[0]
    assert other.stat().st_ino != before[1]
    assert other.read_text() == "two\n"


def test_what_somebody_changed_is_mended(role: Role) -> None:
    mode, content, link, gone = (role.file(name, "text") for name in ("a", "b", "c", "d"))
    role.apply()
    elsewhere = role.etc / "elsewhere"
    elsewhere.write_text("text\n")
    mode.chmod(0o666)
    content.write_text("tex!\n")
    link.unlink()
    link.symlink_to(elsewhere)
    gone.unlink()
    role.apply()
    for path in (mode, content, link, gone):
        assert look(path) == ("text\n", "0644", role.owner), path.name
    assert not link.is_symlink()


def test_what_a_run_that_was_cut_off_left_is_gone_after_the_next(role: Role) -> None:
    path = role.file("key", "secret", mode="0600")
    victim = role.etc / "victim"
    role.etc.mkdir()
    victim.write_text("mine\n")
    (role.etc / ".jarvis.web.key").symlink_to(victim)
    role.apply()
    assert look(path) == ("secret\n", "0600", role.owner)
    assert victim.read_text() == "mine\n"
    assert sorted(each.name for each in role.etc.iterdir()) == ["key", "victim"]


def test_a_file_that_is_no_longer_asked_for_goes(role: Role) -> None:
    old = role.file("old/conf", "text")
    kept = role.file("kept", "text")
    role.apply()
    del role.files["old/conf"]
    role.apply()
    assert not old.parent.exists()
    assert kept.exists()


@pytest.mark.parametrize("owner", ["nobody-here:root", "root:nobody-here"])
def test_an_owner_that_the_server_does_not_know_is_named_before_anything_changes(
    role: Role, owner: str
) -> None:
    first, path = role.file("first", "text"), role.file("second", "text", owner=owner)
    done = role.run()
    assert done.returncode == 1
    assert f"{path}: no " in done.stderr
    assert "nobody-here on this server" in done.stderr
    assert not first.exists()


def test_units_restart_when_a_file_differs_and_only_then(role: Role) -> None:
    role.extra = "unit one.service\nunit two.service\ninput release 1\nready true\n"
    role.file("conf", "one")
    role.apply()
    assert role.restarts() == 2
    role.apply()
    assert role.restarts() == 2
    for already, mode in ((2, "0644"), (4, "0600")):
        assert role.restarts() == already
        role.file("conf", "two", mode=mode)
        role.apply()
    assert role.restarts() == 6


def test_units_of_a_server_that_was_set_up_before_are_left_running(role: Role) -> None:
    """What they were started with is written down there in this form: another one would restart them all."""
    role.extra = f"unit one.service\ninput release 1\nready true\ndir 0700 {role.owner} {role.etc}/d\n"
    role.file("conf", "one\ntwo")
    role.apply()
    depends = (
        "release 1\none.service\ntrue\n"
        f"dir 0700 {role.owner} {role.etc}/d\nfile 0644 {role.owner} {role.etc}/conf\none\ntwo\n"
    )
    started = (role.base / "roles" / "web" / "started").read_text().strip()
    assert started == hashlib.sha256(depends.encode()).hexdigest()


def _asks(role: Role, *lines: str) -> None:
    role.file("conf", "text")
    role.extra = "".join(f"{line}\n" for line in ("unit web.service", *lines))
    role.commands.say("journalctl", "")
    role.commands.add("systemctl", '[ "$1" != is-failed ] || exit 1; [ "$1" != show ] || echo activating')


@pytest.mark.parametrize(
    ("ready", "problem"),
    [
        ("echo port 80 is closed; exit 7", "port 80 is closed"),
        ("exit 7", "status 7"),
        ("echo half; exec sleep 60", "no answer of it, after: half"),
    ],
)
def test_a_role_that_is_late_says_what_it_waited_for(role: Role, ready: str, problem: str) -> None:
    _asks(role, f"ready {ready}", "timeout 1")
    done = role.run()
    assert done.returncode == 1
    assert f"still waited for: {ready}: {problem}: not ready within 1s; " in done.stderr
    assert "raise patience in the configuration" in done.stderr


def test_a_unit_that_is_late_is_told_with_its_state(role: Role) -> None:
    _asks(role, "timeout 1")
    role.commands.add("systemctl", "case $1 in restart) exec sleep 60 ;; show) echo activating ;; esac")
    done = role.run()
    assert done.returncode == 1
    assert "still waited for: web.service, which is activating: not started within 1s; " in done.stderr


def test_a_gate_that_is_late_is_told(role: Role) -> None:
    _asks(role, "timeout 1")
    role.apply()
    role.file("conf", "other")
    _asks(role, "gate exec sleep 60", "timeout 1")
    role.file("conf", "other")
    done = role.run()
    assert done.returncode == 1
    assert "not restarted, still waited for: exec sleep 60: no answer within 1s; " in done.stderr
    assert role.restarts() == 1


def test_all_commands_of_a_role_know_the_patience(role: Role) -> None:
    told = [role.etc / name for name in ("before", "ready", "after")]
    verbs = [f'{path.name} echo "$JARVIS_PATIENCE_FACTOR" >{path}' for path in told]
    _asks(role, "patience 4", *verbs)
    role.apply()
    assert [path.read_text() for path in told] == ["4\n"] * 3


# `systemctl` of two units, which are as the files say that have their names.
MENDED = """
here=$(dirname "$0")
case $1 in
  is-active) grep -q ActiveState=active "$here/$3" ;;
  show) case $* in
    *ExecStart*) echo "{ path=/usr/bin/web ; argv[]=/usr/bin/web ; }" ;;
    *) shift 4; for unit in "$@"; do cat "$here/$unit"; echo; done ;;
  esac ;;
esac
"""


@pytest.fixture
def mended(role: Role) -> Role:
    """A role of two units that was applied, and of which nothing has been asked yet."""
    for unit in ("one.service", "two.service"):
        state(role, unit)
    role.commands.add("systemctl", MENDED)
    role.extra = "unit one.service\nunit two.service\ngate touch $JARVIS_BASE/gate\n"
    role.file("conf", "one")
    role.apply()
    role.commands.log.write_text("")
    return role


def state(role: Role, unit: str, active: str = "active", enabled: str = "enabled", since: int = 1) -> None:
    text = f"ActiveState={active}\nUnitFileState={enabled}\nStateChangeTimestamp=@{since}\nMainPID=7\n"
    (role.commands.folder / unit).write_text(text)


def acts(role: Role) -> list[str]:
    """What systemd was told to do."""
    asked = ("systemctl show", "systemctl is-active")
    return [call for call in role.commands.calls("systemctl") if not call.startswith(asked)]


def gated(role: Role) -> bool:
    return (role.base / "gate").exists()


def test_a_file_that_is_mended_restarts_no_unit_that_never_saw_it(mended: Role) -> None:
    (mended.etc / "conf").write_text("edited\n")
    mended.apply()
    assert (mended.etc / "conf").read_text() == "one\n"
    assert acts(mended) == []


@pytest.mark.parametrize("how", ["edited", "removed", "a link"])
def test_a_unit_that_was_started_with_an_edited_file_is_restarted(mended: Role, how: str) -> None:
    path = mended.etc / "conf"
    path.unlink()
    if how == "edited":
        path.write_text("edited\n")
    elif how == "a link":
        path.symlink_to("/dev/null")
    # One of them was restarted by hand since.
    state(mended, "two.service", since=2**40)
    mended.apply()
    assert path.read_text() == "one\n"
    assert acts(mended) == ["systemctl restart two.service"]
    assert gated(mended)


def test_a_folder_that_was_removed_with_all_in_it_comes_back(mended: Role) -> None:
    mended.file("deep/er/conf", "text")
    mended.apply()
    mended.commands.log.write_text("")
    shutil.rmtree(mended.etc / "deep")
    mended.apply()
    assert (mended.etc / "deep/er/conf").read_text() == "text\n"
    assert acts(mended) == []


def test_rights_that_are_mended_restart_nothing(mended: Role) -> None:
    (mended.etc / "conf").chmod(0o600)
    state(mended, "two.service", since=2**40)
    mended.apply()
    assert look(mended.etc / "conf")[1] == "0644"
    assert acts(mended) == []


@pytest.mark.parametrize("active", ["inactive", "failed"])
def test_a_unit_that_was_stopped_is_started_and_no_other_touched(mended: Role, active: str) -> None:
    state(mended, "two.service", active=active)
    mended.apply()
    assert acts(mended) == ["systemctl reset-failed two.service", "systemctl start two.service"]
    assert not gated(mended)


def test_a_unit_that_was_disabled_is_enabled(mended: Role) -> None:
    state(mended, "one.service", enabled="disabled")
    mended.apply()
    assert acts(mended) == ["systemctl enable --quiet --no-reload one.service", "systemctl daemon-reload"]


def test_a_unit_that_was_masked_is_one_again(mended: Role) -> None:
    state(mended, "one.service", active="inactive", enabled="masked")
    mended.apply()
    assert acts(mended) == [
        "systemctl unmask --quiet one.service",
        "systemctl unmask --runtime --quiet one.service",
        "systemctl enable --quiet --no-reload one.service",
        "systemctl daemon-reload",
        "systemctl reset-failed one.service",
        "systemctl start one.service",
    ]


def test_a_change_restarts_a_unit_that_was_masked_too(mended: Role) -> None:
    state(mended, "one.service", enabled="masked-runtime")
    mended.file("conf", "two")
    mended.apply()
    told = acts(mended)
    assert told.index("systemctl unmask --runtime --quiet one.service") < told.index(
        "systemctl enable --quiet --no-reload one.service two.service"
    )
    assert mended.restarts() == 2


def test_a_program_of_another_release_is_looked_for_only_where_something_was_seen(
    mended: Role, tmp_path: Path
) -> None:
    """/usr/bin/env stands for what runs, and for what lies at its path by now."""
    proc = tmp_path / "proc"
    (proc / "7").mkdir(parents=True)
    other = proc / "env"
    other.write_text("another program\n")
    (proc / "7" / "exe").symlink_to(other)
    mended.commands.add("systemctl", MENDED.replace("/usr/bin/web", "/usr/bin/env"))
    mended.extra = mended.extra.replace("gate", "input release\ngate")
    mended.apply()
    mended.commands.log.write_text("")
    mended.environment = {"JARVIS_PROC": str(proc)}
    mended.apply()
    assert acts(mended) == []
    mended.extra += "seen 1: one.service: started from another host release\n"
    mended.apply()
    assert acts(mended) == ["systemctl restart one.service", "systemctl restart two.service"]
    (proc / "7" / "exe").unlink()
    (proc / "7" / "exe").symlink_to("/usr/bin/env")
    mended.commands.log.write_text("")
    mended.apply()
    assert acts(mended) == []


def test_a_role_that_is_mended_is_waited_for(mended: Role) -> None:
    mended.extra += "ready touch $JARVIS_BASE/ready\n"
    mended.apply()
    (mended.base / "ready").unlink()
    mended.apply()
    assert not (mended.base / "ready").exists()
    state(mended, "one.service", active="inactive")
    mended.apply()
    assert (mended.base / "ready").exists()


def test_what_a_run_that_was_cut_off_has_mended_restarts_a_unit_later(mended: Role) -> None:
    (mended.etc / "conf").write_text("edited\n")
    state(mended, "two.service", since=2**40)
    well = mended.extra
    mended.extra += "before false\n"
    for _ in range(2):
        assert mended.run().returncode == 1
    assert (mended.etc / "conf").read_text() == "one\n"
    assert acts(mended) == []
    mended.extra = well
    mended.apply()
    assert acts(mended) == ["systemctl restart two.service"]
    mended.apply()
    assert len(acts(mended)) == 1


def test_rights_of_data_outlive_a_run_that_was_cut_off(mended: Role) -> None:
    data = mended.etc / "data"
    data.mkdir(mode=0o711)
    mended.extra += f"purge {data}\n"
    mended.apply()
    well = mended.extra
    mended.extra += "after false\n"
    assert mended.run().returncode == 1
    data.chmod(0o777)
    mended.extra = well
    mended.apply()
    assert data.stat().st_mode & 0o777 == 0o711


def ship(role: Role, name: str, content: bytes) -> str:
    """Something among the scripts of the server; its line in a bundle, without the path."""
    path = role.base.parent / "base-scripts" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"script 0755 {role.owner} {hashlib.sha256(content).hexdigest()} {name}"


PACKED = b"#!/usr/bin/python3\nPK\0\0 \xff\n\n\0"


def test_a_program_arrives_byte_by_byte_and_its_modules_are_for_the_reader(role: Role) -> None:
    role.extra = f"module 1234 jarvis.host\n{ship(role, 'host/a.pyz', PACKED)} {role.etc}/tool\n"
    role.apply()
    assert (role.etc / "tool").read_bytes() == PACKED
    assert (role.etc / "tool").stat().st_mode & 0o777 == 0o755


def test_a_file_beside_the_units_restarts_none(mended: Role) -> None:
    """Neither a newer one nor one that somebody edited, also where the unit was started since."""
    tool = mended.file("tool", "one", mode="0755")
    mended.extra += f"beside {tool}\n"
    mended.apply()
    state(mended, "one.service", since=2**33)
    mended.file("tool", "two", mode="0755")
    mended.commands.log.write_text("")
    mended.apply()
    assert acts(mended) == []
    tool.write_text("edited\n")
    mended.apply()
    assert acts(mended) == []
    assert tool.read_text() == "two\n"
    mended.file("conf", "two")
    mended.apply()
    assert mended.restarts() == 2


def counted(role: Role) -> tuple[Path, Path]:
    """A role as an earlier Jarvis applied it: a tool of two files, which counted. Then they become one."""
    tool, module = role.file("tool", "one", mode="0755"), role.file("module", "one", mode="0755")
    role.apply()
    del role.files["module"]
    role.commands.log.write_text("")
    return tool, module


def test_a_tool_that_counted_restarts_no_unit_when_it_does_no_more(mended: Role) -> None:
    tool, module = counted(mended)
    mended.file("tool", "two", mode="0755")
    mended.extra += f"beside {tool}\nbeside {module}\n"
    state(mended, "one.service", since=2**33)
    mended.apply()
    assert acts(mended) == []
    assert tool.read_text() == "two\n"
    assert not module.exists()
    mended.apply()
    assert acts(mended) == []


@pytest.mark.parametrize("what", ["conf", "another file", "input", "unit"])
def test_what_else_is_new_with_it_restarts_them(mended: Role, what: str) -> None:
    tool, module = counted(mended)
    mended.file("tool", "two", mode="0755")
    mended.extra += f"beside {tool}\nbeside {module}\n"
    if what == "conf":
        mended.file("conf", "two")
    elif what == "another file":
        mended.file("more", "one")
    elif what == "input":
        mended.extra += "input release\n"
    else:
        state(mended, "three.service")
        mended.extra += "unit three.service\n"
    mended.apply()
    assert mended.restarts() == (3 if what == "unit" else 2)


def like(role: Role, *paths: Path) -> str:
    """The lines that say that what comes does the same as what lies at ``paths``."""
    return "".join(f"same {hashlib.sha256(path.read_bytes()).hexdigest()} {path}\n" for path in paths)


@pytest.mark.parametrize("cut", [False, True])
def test_a_program_in_another_form_restarts_nothing_and_a_later_one_does(mended: Role, cut: bool) -> None:
    """Also where the run is cut off before it writes the first file, and the next one goes on."""
    tool, module = counted(mended)
    same = like(mended, tool, module)
    state(mended, "one.service", since=2**33)
    mended.file("tool", "packed", mode="0755")
    mended.extra += same
    if cut:
        mended.commands.add("sync", "kill -KILL $PPID")
        assert mended.run().returncode != 0
        assert tool.read_text() == "one\n"
        (mended.commands.folder / "sync").unlink()
    mended.apply()
    assert acts(mended) == []
    assert tool.read_text() == "packed\n"
    assert not module.exists()
    mended.file("tool", "newer", mode="0755")
    mended.apply()
    assert mended.restarts() == 2


@pytest.mark.parametrize("how", ["one is another", "one is missing", "written down by nobody"])
def test_only_exactly_the_files_that_are_named_are_taken_for_the_same(mended: Role, how: str) -> None:
    tool, module = counted(mended)
    mended.extra += like(mended, tool, module)
    if how == "one is another":
        mended.extra = mended.extra.replace(like(mended, module), f"same 12 {module}\n")
    elif how == "one is missing":
        mended.extra += f"same 12 {mended.etc}/third\n"
    else:
        (mended.base / "roles" / "web" / "made").unlink()
    mended.file("tool", "packed", mode="0755")
    mended.apply()
    assert mended.restarts() == 2
