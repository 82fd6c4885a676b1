"""Each source of a tool, and what happens when it lies, is silent or has nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import archive, script
from publisher import Publisher

from toolchain.errors import ToolchainError
from toolchain.mirror import write_mirror
from toolchain.model import Tool
from toolchain.resolver import Resolver
from toolchain.sources import mirror_name
from toolchain.store import Store

Make = Callable[..., Resolver]


def says(program: Path) -> str:
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    return (done.stdout + done.stderr).strip()


def compiled(go: Path, folder: Path, version: str, into: Path) -> Path:
    """A real program called hello at ``version``, in the folder ``into``."""
    into.mkdir(parents=True)
    flags = ["-ldflags", f"-X main.version={version}"]
    subprocess.run([go, "build", *flags, "-o", into / "hello", "."], cwd=folder, check=True)
    return into


def only(tool: Tool, *sources: str) -> Tool:
    return tool.model_copy(update={"sources": list(sources)})


def test_official_release_is_taken_and_checked(
    tool: Tool, store: Store, resolver: Make, released: str
) -> None:
    record = resolver(store).resolve([tool])["hello"]
    assert record.source == "official"
    assert says(store.files(tool)["hello"]) == "hello version 1.2.3"
    assert stat.S_IMODE(store.files(tool)["hello"].stat().st_mode) == 0o755


def test_second_run_asks_nobody(
    tool: Tool, store: Store, resolver: Make, released: str, publisher: Publisher
) -> None:
    first = resolver(store).resolve([tool])
    publisher.asked.clear()
    assert resolver(Store(store.root)).resolve([tool]) == first
    assert publisher.asked == []


def test_corrupt_release_is_never_used(
    tool: Tool, store: Store, resolver: Make, released: str, publisher: Publisher
) -> None:
    publisher.files[released] = archive({"dist/hello": script("1.2.3") + b"# and something else\n"})
    with pytest.raises(ToolchainError) as caught:
        resolver(store).resolve([only(tool, "official")])
    assert f"{released} is corrupt: sha256" in str(caught.value)
    assert store.find(tool) is None


def test_wrong_sums_are_an_error_that_names_the_sums(
    tool: Tool, store: Store, resolver: Make, released: str, publisher: Publisher
) -> None:
    publisher.files[f"{released}.sha256"] = f"{'0' * 64}  another.tar.gz\n".encode()
    with pytest.raises(ToolchainError, match=r"hello.tar.gz.sha256 has no sha256 of hello.tar.gz"):
        resolver(store).resolve([only(tool, "official")])


def test_missing_release_falls_through_to_the_go_build(tool: Tool, store: Store, resolver: Make) -> None:
    record = resolver(store).resolve([tool])["hello"]
    assert record.source == "go"
    assert says(store.files(tool)["hello"]) == "hello version v1.2.3"


def test_corrupt_release_falls_through_to_the_go_build(
    tool: Tool, store: Store, resolver: Make, released: str, publisher: Publisher
) -> None:
    publisher.files[released] = b"no archive"
    assert resolver(store).resolve([tool])["hello"].source == "go"


def test_release_of_another_version_is_not_used(
    tool: Tool, store: Store, resolver: Make, publisher: Publisher
) -> None:
    publisher.publish("/v1.2.3/hello.tar.gz", archive({"dist/hello": script("1.2.4")}))
    with pytest.raises(ToolchainError, match=r"hello does not run, or is not version 1\.2\.3"):
        resolver(store).resolve([only(tool, "official")])


def test_archive_without_the_member_is_an_error(
    tool: Tool, store: Store, resolver: Make, publisher: Publisher
) -> None:
    publisher.publish("/v1.2.3/hello.tar.gz", archive({"elsewhere/hello": script("1.2.3")}))
    with pytest.raises(ToolchainError, match="dist/hello"):
        resolver(store).resolve([only(tool, "official")])


def test_download_that_breaks_off_leaves_nothing(
    tool: Tool, store: Store, resolver: Make, released: str, publisher: Publisher
) -> None:
    publisher.cut.add(released)
    with pytest.raises(ToolchainError, match=r"the connection ended after \d+ of \d+ bytes"):
        resolver(store).resolve([only(tool, "official")])
    assert not [each for each in store.folder(tool).parent.iterdir() if each.suffix != ".lock"]
    publisher.cut.clear()
    assert resolver(store).resolve([only(tool, "official")])["hello"].source == "official"


def test_silent_publisher_is_waited_for_once(
    tool: Tool, store: Store, resolver: Make, publisher: Publisher
) -> None:
    others = [
        only(tool, "official").model_copy(update={"name": f"hello{number}"}, deep=True) for number in range(5)
    ]
    publisher.hang.add("/v1.2.3/hello.tar.gz.sha256")
    with pytest.raises(ToolchainError) as caught:
        resolver(store).resolve(others)
    assert str(caught.value).count("cannot be reached (no answer in time)") == 5
    assert publisher.asked == ["/v1.2.3/hello.tar.gz.sha256"]


def test_unreachable_publisher_is_named(
    tool: Tool, store: Store, resolver: Make, publisher: Publisher
) -> None:
    # Port 1 of loopback has no listener.
    moved = tool.official[0].model_copy(update={"sums": "http://127.0.0.1:1/sums"})
    with pytest.raises(ToolchainError, match=r"127\.0\.0\.1:1 cannot be reached"):
        resolver(store).resolve([only(tool, "official").model_copy(update={"official": [moved]})])


def test_path_at_the_version_is_taken_first(
    tool: Tool,
    store: Store,
    resolver: Make,
    released: str,
    publisher: Publisher,
    real_go: Path,
    tmp_path: Path,
) -> None:
    folder = compiled(real_go, tool.root / "hello", "v1.2.3", tmp_path / "bin")
    record = resolver(store, path=f"{tmp_path}:{folder}").resolve([tool])["hello"]
    assert (record.source, record.detail) == ("path", f"PATH ({folder})")
    assert publisher.asked == []
    shutil.rmtree(folder)
    assert says(store.files(tool)["hello"]) == "hello version v1.2.3"


@pytest.mark.parametrize("version", ["1.2.4", "11.2.3", "1.2.3.4", "1.2.3+patched", "1.2.3-rc.1"])
def test_path_at_another_version_is_passed_over(
    version: str, tool: Tool, store: Store, resolver: Make, released: str, real_go: Path, tmp_path: Path
) -> None:
    folder = compiled(real_go, tool.root / "hello", version, tmp_path / "bin")
    assert resolver(store, path=str(folder)).resolve([tool])["hello"].source == "official"


def test_path_with_a_wrapper_script_is_passed_over(
    tool: Tool, store: Store, resolver: Make, released: str, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "hello").write_bytes(script("1.2.3"))
    (tmp_path / "bin" / "hello").chmod(0o755)
    assert resolver(store, path=str(tmp_path / "bin")).resolve([tool])["hello"].source == "official"


def test_our_own_links_on_path_do_not_count(
    tool: Tool, store: Store, resolver: Make, real_go: Path, tmp_path: Path
) -> None:
    cached = compiled(real_go, tool.root / "hello", "v1.2.3", store.root / "tools" / "old")
    linked = tmp_path / "bin"
    linked.mkdir()
    (linked / "hello").symlink_to(cached / "hello")
    with pytest.raises(ToolchainError, match="path: not on PATH"):
        resolver(store, path=str(linked)).resolve([only(tool, "path")])


@pytest.mark.parametrize("served", [False, True], ids=["folder", "http"])
def test_mirror_serves_another_machine(
    served: bool,
    tool: Tool,
    store: Store,
    resolver: Make,
    released: str,
    publisher: Publisher,
    tmp_path: Path,
) -> None:
    resolver(store).resolve([tool])
    mirror = tmp_path / "mirror"
    write_mirror(mirror, {mirror_name(tool): store.folder(tool)})
    publisher.files.clear()
    publisher.publish_folder(mirror)
    elsewhere = Store(tmp_path / "another machine")
    address = publisher.address if served else str(mirror)
    record = resolver(elsewhere, mirror=address).resolve([tool])["hello"]
    assert record.source == "mirror"
    assert record.sha256 == store.find(tool).sha256  # type: ignore[union-attr]
    assert says(elsewhere.files(tool)["hello"]) == "hello version 1.2.3"


def test_mirror_written_twice_is_the_same(
    tool: Tool, store: Store, resolver: Make, released: str, tmp_path: Path
) -> None:
    resolver(store).resolve([tool])
    trees = {mirror_name(tool): store.folder(tool)}
    assert write_mirror(tmp_path / "one", trees) == [mirror_name(tool)]
    assert write_mirror(tmp_path / "one", trees) == []
    write_mirror(tmp_path / "two", trees)
    for name in (mirror_name(tool), "SHA256SUMS"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def mirrored(tool: Tool, store: Store, resolver: Make, tmp_path: Path) -> Path:
    resolver(store).resolve([tool])
    write_mirror(tmp_path / "mirror", {mirror_name(tool): store.folder(tool)})
    return tmp_path / "mirror"


def test_corrupt_file_of_the_mirror_is_never_used(
    tool: Tool, store: Store, resolver: Make, released: str, tmp_path: Path
) -> None:
    mirror = mirrored(tool, store, resolver, tmp_path)
    with (mirror / mirror_name(tool)).open("ab") as stream:
        stream.write(b"more")
    elsewhere = Store(tmp_path / "another machine")
    with pytest.raises(ToolchainError, match=r"mirror/tools/hello-1.2.3-\w+\.tar\.gz is corrupt: sha256"):
        resolver(elsewhere, mirror=str(mirror)).resolve([only(tool, "mirror")])
    assert resolver(elsewhere, mirror=str(mirror)).resolve([tool])["hello"].source == "official"


def test_what_the_mirror_lacks_comes_from_elsewhere(
    tool: Tool, store: Store, resolver: Make, released: str, tmp_path: Path
) -> None:
    mirror = mirrored(tool, store, resolver, tmp_path)
    newer = tool.model_copy(update={"files": ["hello"], "minutes": 1.0, "use": "operator"})
    (mirror / "SHA256SUMS").write_text("")
    elsewhere = Store(tmp_path / "another machine")
    with pytest.raises(ToolchainError, match=rf"{mirror} has no tools/hello"):
        resolver(elsewhere, mirror=str(mirror)).resolve([only(newer, "mirror")])
    assert resolver(elsewhere, mirror=str(mirror)).resolve([newer])["hello"].source == "official"


def test_silent_mirror_does_not_stop_the_others(
    tool: Tool, store: Store, resolver: Make, publisher: Publisher, tmp_path: Path
) -> None:
    publisher.hang.add("/SHA256SUMS")
    assert resolver(store, mirror=publisher.address).resolve([tool])["hello"].source == "go"


def test_no_source_says_why_each_failed_and_what_to_do(
    tool: Tool, store: Store, resolver: Make, tmp_path: Path
) -> None:
    with pytest.raises(ToolchainError) as caught:
        resolver(store, mirror=str(tmp_path / "nowhere")).resolve([only(tool, "path", "mirror", "official")])
    text = str(caught.value)
    assert "hello 1.2.3 could not be obtained" in text
    assert "path: not on PATH" in text
    assert "mirror: " in text
    assert "HTTP 404" in text
    assert "What to do: " in text


def test_hostile_archive_of_a_mirror_stays_inside(
    tool: Tool, store: Store, resolver: Make, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    file = mirror / mirror_name(tool)
    file.parent.mkdir(parents=True)
    file.write_bytes(archive({"../../../../escaped": b"out", "hello": script("1.2.3")}))
    write_mirror(mirror, {})
    with pytest.raises(ToolchainError, match="does not belong into a mirror"):
        resolver(store, mirror=str(mirror)).resolve([only(tool, "mirror")])
    assert not list(tmp_path.rglob("escaped"))


def test_two_runs_at_once_share_the_work(
    tool: Tool, store: Store, resolver: Make, released: str, publisher: Publisher
) -> None:
    found: list[str] = []

    def run() -> None:
        found.append(resolver(Store(store.root)).resolve([tool])["hello"].sha256["hello"])

    runs = [threading.Thread(target=run) for _ in range(4)]
    for each in runs:
        each.start()
    for each in runs:
        each.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert publisher.asked.count(released) == 1


def test_what_a_killed_run_left_is_cleared(tool: Tool, store: Store, resolver: Make, released: str) -> None:
    left = store.folder(tool).with_name(f"{tool.digest}.tmp-1")
    left.mkdir(parents=True)
    (left / "hello").write_bytes(b"half a f")
    # A folder in place without its record is not complete either.
    store.folder(tool).mkdir()
    assert resolver(store).resolve([tool])["hello"].source == "official"
    assert not left.exists()
    assert os.access(store.files(tool)["hello"], os.X_OK)
