"""host.sh and release.sh on a tree of files, with systemd played by a fake."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from tests.unit.fakes import Commands

SSHD = "etc/ssh/sshd_config.d/90-jarvis.conf"


class Server:
    """A tree with what the scripts look at. `systemd-sysext` merges what the link points to."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.commands = Commands(folder / "bin")
        self.images = self.root / "var/lib/jarvis/releases"
        self.active = self.root / "var/lib/extensions/jarvis.raw"
        merged = self.root / "usr/lib/extension-release.d/extension-release.jarvis"
        self.merged = merged
        self.write("proc/sys/kernel/random/boot_id", "boot-1\n")
        self.write("var/lib/jarvis/cluster", "dev jarvis-1\n")
        self.commands.say("hostname", "jarvis-1\n")
        self.commands.say("getent", "192.0.2.11 STREAM jarvis-1\n192.0.2.11 DGRAM\n")
        self.commands.say("systemctl", "")
        self.commands.add(
            "systemd-sysext",
            f"mkdir -p {merged.parent}; if [ -e {self.active} ]; then cp {self.active} {merged}; "
            f"else rm -f {merged}; fi",
        )

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def send(self, content: str) -> tuple[str, str]:
        """Digest of an image that has come to the staging folder, and its path."""
        return hashlib.sha256(content.encode()).hexdigest(), str(self.write("staging/release.raw", content))

    def release(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.commands.run("release.sh", *words, root=self.root)

    def host(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.commands.run("host.sh", *words, root=self.root)

    def refreshes(self) -> int:
        return len(self.commands.calls("systemd-sysext"))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_an_image_is_checked_moved_and_merged(server: Server) -> None:
    digest, staged = server.send("one")
    run = server.release("activate", digest, staged)
    assert run.returncode == 0, run.stderr
    assert server.active.readlink() == server.images / f"{digest}.raw"
    assert server.merged.read_text() == "one"
    assert not Path(staged).exists()
    assert "systemctl enable --quiet systemd-sysext.service" in server.commands.calls("systemctl")


def test_the_same_image_again_changes_nothing(server: Server) -> None:
    digest, staged = server.send("one")
    server.release("activate", digest, staged)
    server.send("one")  # sent again, since a killed run did not write down that it had been
    run = server.release("activate", digest, staged)
    assert (run.returncode, run.stderr) == (0, "release: unchanged\n")
    assert server.refreshes() == 1
    assert not Path(staged).exists()


def test_a_damaged_image_is_refused_and_what_runs_stays(server: Server) -> None:
    digest, staged = server.send("one")
    server.release("activate", digest, staged)
    server.send("damaged")
    other = hashlib.sha256(b"two").hexdigest()
    run = server.release("activate", other, staged)
    assert run.returncode == 1
    assert f"not {other}" in run.stderr
    assert not Path(staged).exists()
    assert server.active.readlink() == server.images / f"{digest}.raw"
    assert not (server.images / f"{other}.raw").exists()


def test_an_image_that_never_came_is_told(server: Server) -> None:
    run = server.release("activate", "0" * 64, str(server.root / "staging/release.raw"))
    assert run.returncode == 1
    assert "pulumi up --replace" in run.stderr


def test_an_image_that_rotted_on_the_disk_is_told(server: Server) -> None:
    digest, staged = server.send("one")
    server.release("activate", digest, staged)
    (server.images / f"{digest}.raw").write_text("rotten")
    run = server.release("activate", digest)
    assert run.returncode == 1
    assert "is damaged" in run.stderr


def test_the_image_before_is_kept_and_older_ones_go(server: Server) -> None:
    digests = []
    for content in ("one", "two", "three"):
        digest, staged = server.send(content)
        server.release("activate", digest, staged)
        digests.append(digest)
    assert sorted(p.stem for p in server.images.glob("*.raw") if not p.is_symlink()) == sorted(digests[1:])
    run = server.release("rollback")
    assert run.returncode == 0, run.stderr
    assert server.merged.read_text() == "two"
    assert server.release("rollback").returncode == 0
    assert server.merged.read_text() == "three"


def test_there_is_no_way_back_from_the_first(server: Server) -> None:
    server.release("activate", *server.send("one"))
    run = server.release("rollback")
    assert run.returncode == 1
    assert "no image before" in run.stderr


def test_after_a_boot_the_image_is_merged_again(server: Server) -> None:
    digest, staged = server.send("one")
    server.release("activate", digest, staged)
    server.write("proc/sys/kernel/random/boot_id", "boot-2\n")
    server.merged.unlink()
    assert server.release("activate", digest).returncode == 0
    assert server.merged.read_text() == "one"


def test_removing_leaves_nothing(server: Server) -> None:
    server.release("activate", *server.send("one"))
    assert server.release("remove").returncode == 0
    assert not server.merged.exists()
    assert not server.images.exists()
    assert not server.active.parent.exists()


def test_lines_of_others_in_hosts_stay(server: Server) -> None:
    before = "127.0.0.1 localhost\n192.0.2.9 printer\n"
    hosts = server.write("etc/hosts", before)
    block = server.write("block", "192.0.2.11 jarvis-1\n192.0.2.12 jarvis-2\n")
    assert server.host("hosts", str(block)).returncode == 0
    once = hosts.read_text()
    assert once.startswith(before)
    assert "192.0.2.12 jarvis-2\n" in once
    changed = hosts.stat().st_ino
    server.host("hosts", str(block))
    assert (hosts.read_text(), hosts.stat().st_ino) == (once, changed)
    hosts.write_text(once + "192.0.2.10 scanner\n")
    block.write_text("192.0.2.11 jarvis-1\n192.0.2.13 jarvis-3\n")
    server.host("hosts", str(block))
    assert "jarvis-2" not in hosts.read_text()
    assert "192.0.2.13 jarvis-3\n" in hosts.read_text()
    server.host("hosts")
    assert hosts.read_text() == before + "192.0.2.10 scanner\n"


def test_kernel_settings_are_written_where_they_differ(server: Server) -> None:
    forward = server.write("proc/sys/net/ipv4/ip_forward", "0\n")
    ports = server.write("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
    ports.chmod(0o444)
    settings = server.write(
        "settings", "# a comment\nnet.ipv4.ip_forward = 1\nnet.ipv4.ip_local_port_range = 32768 60999\n"
    )
    run = server.host("sysctls", str(settings))
    assert run.returncode == 0, run.stderr
    assert forward.read_text() == "1\n"


# What Debian's installer leaves, what people add, and what is made of it for jarvis-1.
OWN_NAME = [
    ("127.0.1.1\tjarvis-1", "192.0.2.11 jarvis-1"),
    ("127.0.1.1\tJarvis-1.example.org jarvis-1 # mine", "192.0.2.11 Jarvis-1.example.org jarvis-1"),
    ("127.0.0.1 localhost jarvis-1", "127.0.0.1 localhost"),
    ("::1 localhost ip6-localhost jarvis-1", "::1 localhost ip6-localhost"),
    ("2001:db8::11 jarvis-1", ""),
    ("198.51.100.12 jarvis-2 jarvis-2-bmc", "198.51.100.12 jarvis-2-bmc"),
    ("127.0.1.1 jarvis-1 jarvis-2", "192.0.2.11 jarvis-1"),
]


@pytest.mark.parametrize(("line", "becomes"), OWN_NAME, ids=[line for line, _ in OWN_NAME])
def test_a_name_of_the_servers_leads_to_its_address_alone(server: Server, line: str, becomes: str) -> None:
    before = f"127.0.0.1 localhost\n{line}\n\n# a comment\nff02::1 ip6-allnodes\n"
    hosts = server.write("etc/hosts", before)
    block = server.write("block", "192.0.2.11 jarvis-1\n192.0.2.12 jarvis-2\n")
    for _ in range(2):
        run = server.host("hosts", str(block))
        assert run.returncode == 0, run.stderr
        lines = hosts.read_text().splitlines()
        assert lines[0] == "127.0.0.1 localhost"
        assert lines[1].split("# set aside by Jarvis: ") == [f"{becomes} " if becomes else "", line]
        assert lines[2:5] == ["", "# a comment", "ff02::1 ip6-allnodes"]
        told = [words for text in lines if (words := text.split("#")[0].split())]
        for name, address in (("jarvis-1", "192.0.2.11"), ("jarvis-2", "192.0.2.12")):
            assert {words[0] for words in told if name in words[1:]} == {address}
    server.host("hosts")
    assert hosts.read_text() == before


def test_what_a_server_calls_itself_leads_to_its_address_too(server: Server) -> None:
    hosts = server.write("etc/hosts", "127.0.0.1 localhost\n127.0.1.1 rack7.example.org rack7\n")
    block = server.write("block", "192.0.2.11 jarvis-1\n")
    server.commands.add("hostname", "echo rack7${1:+}")
    assert server.host("hosts", str(block)).returncode == 0
    lines = hosts.read_text().splitlines()
    assert lines[1].startswith("192.0.2.11 rack7.example.org rack7 # ")
    assert "192.0.2.11 rack7" in lines


def test_a_name_that_leads_elsewhere_all_the_same_is_told(server: Server) -> None:
    _settled(server)
    server.commands.say("getent", "127.0.1.1 STREAM jarvis-1\n192.0.2.11 STREAM\n")
    run = server.host("setup", "nftables")
    assert run.returncode == 1
    assert "its own name jarvis-1 leads to 127.0.1.1 192.0.2.11, not to 192.0.2.11 alone" in run.stderr


def test_swap_goes_until_jarvis_does(server: Server) -> None:
    _settled(server)
    server.commands.add(
        "systemctl", '[ "$1" != list-units ] || echo "dev-vdc.swap loaded active active /dev/vdc"'
    )
    assert server.host("without-swap").returncode == 0
    changes = [c for c in server.commands.calls("systemctl") if c.split()[1] in ("mask", "stop")]
    assert changes == ["systemctl mask --quiet swap.target", "systemctl stop dev-vdc.swap"]
    assert server.host("remove").returncode == 0
    assert "systemctl unmask --quiet swap.target" in server.commands.calls("systemctl")
    assert "systemctl start swap.target" in server.commands.calls("systemctl")


def test_swap_that_an_operator_masked_stays_masked(server: Server) -> None:
    _settled(server)
    server.commands.add("systemctl", '[ "$1" != is-enabled ] || echo masked')
    for verb in ("without-swap", "remove"):
        assert server.host(verb).returncode == 0
    assert not any("unmask" in call for call in server.commands.calls("systemctl"))


def test_a_higher_limit_is_left(server: Server) -> None:
    limit = server.write("proc/sys/fs/inotify/max_user_instances", "9000\n")
    settings = server.write("settings", "fs.inotify.max_user_instances = 8192\n")
    assert server.host("sysctls", str(settings)).returncode == 0
    assert limit.read_text() == "9000\n"


def test_a_limit_of_the_machine_beneath_is_told(server: Server) -> None:
    limit = server.write("proc/sys/fs/inotify/max_user_instances", "128\n")
    settings = server.write("settings", "fs.inotify.max_user_instances = 8192\n")
    server.commands.say("findmnt", "ro,nosuid,relatime\n")
    run = server.host("sysctls", str(settings))
    assert run.returncode == 0
    assert "is 128, which this server cannot raise to 8192" in run.stderr
    assert limit.read_text() == "128\n"
    server.commands.say("findmnt", "rw,relatime\n")
    assert server.host("sysctls", str(settings)).returncode == 0
    assert limit.read_text() == "8192\n"


def test_a_setting_that_the_kernel_lacks_is_told(server: Server) -> None:
    settings = server.write("settings", "net.bridge.bridge-nf-call-iptables = 1\n")
    run = server.host("sysctls", str(settings))
    assert run.returncode == 1
    assert "this kernel has no net.bridge.bridge-nf-call-iptables" in run.stderr


def test_a_setting_that_cannot_be_set_is_told(server: Server) -> None:
    (server.root / "proc/sys/fs").mkdir(parents=True)
    # Every write to it fails, whoever writes; what it says is of no matter.
    (server.root / "proc/sys/fs/nr_open").symlink_to("/proc/version")
    server.commands.say("tr", "1")
    settings = server.write("settings", "fs.nr_open = 2\n")
    run = server.host("sysctls", str(settings))
    assert run.returncode == 1
    assert "fs.nr_open is 1 and cannot be set to 2 (field sysctls of the server)" in run.stderr


def _settled(server: Server) -> None:
    """What the base role's files are when `setup` runs, and a system that has all it needs."""
    server.write("etc/sysusers.d/jarvis.conf", 'u etcd - "Jarvis etcd" /var/lib/etcd /usr/sbin/nologin\n')
    server.write("etc/modules-load.d/jarvis.conf", "overlay\nbr_netfilter\n")
    server.write("etc/sysctl.d/90-jarvis.conf", "net.ipv4.ip_forward = 1\n")
    server.write("proc/sys/net/ipv4/ip_forward", "0\n")
    server.write("etc/hosts", "127.0.0.1 localhost\n")
    server.write("var/lib/jarvis/hosts", "192.0.2.11 jarvis-1\n")
    server.write("etc/systemd/resolved.conf.d/90-jarvis.conf", "[Resolve]\nDNS=10.96.0.10\n")
    server.write("etc/systemd/journald.conf.d/90-jarvis.conf", "[Journal]\n")
    (server.root / "etc/systemd/system").mkdir(parents=True)
    server.write("var/lib/jarvis/sshd.conf", "Ciphers new\n")
    for name in ("systemd-sysusers", "modprobe", "apt-get", "userdel", "sshd"):
        server.commands.say(name, "")
    server.commands.say("dpkg-query", "installed")


def _restarts(server: Server) -> list[str]:
    return [call for call in server.commands.calls("systemctl") if call.startswith("systemctl restart")]


def test_a_server_that_has_all_is_not_touched_twice(server: Server) -> None:
    _settled(server)
    for _ in range(2):
        run = server.host("setup", "haproxy", "nftables")
        assert run.returncode == 0, run.stderr
    assert server.commands.calls("apt-get") == []
    assert server.commands.calls("modprobe")[:2] == [
        "modprobe --quiet overlay",
        "modprobe --quiet br_netfilter",
    ]
    assert _restarts(server) == [
        "systemctl restart systemd-resolved.service",
        "systemctl restart systemd-journald.service",
    ]
    server.write("etc/systemd/resolved.conf.d/90-jarvis.conf", "[Resolve]\nDNS=10.97.0.10\n")
    server.host("setup", "haproxy", "nftables")
    assert _restarts(server)[2:] == ["systemctl restart systemd-resolved.service"]


def test_only_missing_packages_are_installed_and_do_not_start(server: Server) -> None:
    _settled(server)
    server.commands.add("dpkg-query", '[[ "$*" == *haproxy* ]] || printf installed')
    server.commands.add("systemctl", '[ "$1 $2" != "cat haproxy.service" ]')
    assert server.host("setup", "haproxy", "nftables").returncode == 0
    (call,) = server.commands.calls("apt-get")
    assert call.endswith(" install haproxy")
    calls = [c for c in server.commands.calls() if "is-active" not in c]
    steps = [c for c in calls if "haproxy.service" in c or c.startswith("apt-get")]
    assert [c.split()[1] for c in steps] == ["cat", "mask", "--yes", "unmask", "disable"]


def _with_services(server: Server) -> Path:
    """Units run until they are stopped; a queue as its package made it. Returns the queue's file."""
    _settled(server)
    for name in ("mariadb.service", "rabbitmq-server.service", "epmd.socket"):
        server.write(f"units/{name}", "active")
    server.commands.add(
        "systemctl",
        f'cd "{server.root}/units"; unit=${{@: -1}}; state=$(cat "$unit" 2>/dev/null); case "$1 $2" in '
        'is-active*) [ "$2" = --quiet ] || echo "${state:-inactive}"; [ "$state" = active ] ;; '
        'cat*) [ -e "$unit" ] ;; "disable --now") echo inactive >"$unit" ;; esac',
    )
    server.commands.say("rabbitmqctl", "fresh\n")
    (server.root / "var/lib/mysql/mysql").mkdir(parents=True)
    return server.write("var/lib/rabbitmq/mnesia/rabbit@jarvis-1/schema.DAT", "")


def _stopped(server: Server) -> list[str]:
    return [
        c.split()[-1] for c in server.commands.calls("systemctl") if c.split()[1:3] == ["disable", "--now"]
    ]


def test_services_as_their_packages_made_them_are_taken_over_once(server: Server) -> None:
    data = _with_services(server)
    for _ in range(2):
        run = server.host("setup", "mariadb-server", "rabbitmq-server")
        assert run.returncode == 0, run.stderr
        assert _stopped(server) == ["mariadb.service", "rabbitmq-server.service", "epmd.socket"]
    assert not data.exists()
    assert (server.root / "var/lib/mysql/mysql").exists(), "Jarvis keeps its database elsewhere"
    assert not list(server.root.glob("var/lib/jarvis/taking-*"))


def test_a_queue_of_somebody_is_not_taken_over(server: Server) -> None:
    data = _with_services(server)
    server.commands.say("rabbitmqctl", '{vhost,<<"shop">>}\n')
    run = server.host("setup", "rabbitmq-server")
    assert run.returncode == 1
    assert 'has {vhost,<<"shop">>}' in run.stderr
    assert data.exists()
    assert _stopped(server) == []


def test_a_take_over_that_was_cut_short_goes_on(server: Server) -> None:
    data = _with_services(server)
    server.commands.add("find", 'case "$*" in *-delete) exit 1 ;; esac; exec /usr/bin/find "$@"')
    assert server.host("setup", "rabbitmq-server").returncode == 1
    assert data.exists()
    (server.commands.folder / "find").unlink()
    run = server.host("setup", "rabbitmq-server")
    assert run.returncode == 0, run.stderr
    assert not data.exists()


def test_services_of_a_role_are_never_taken(server: Server) -> None:
    """Whatever is in them: at each change of the server `setup` comes again."""
    data = _with_services(server)
    server.write("var/lib/jarvis/roles/queue/units", "epmd.socket\nrabbitmq-server.service\n")
    server.write("var/lib/jarvis/roles/database/units", "mariadb.service\n")
    server.write("var/lib/jarvis/taking-rabbitmq-server", "")
    run = server.host("setup", "mariadb-server", "rabbitmq-server")
    assert run.returncode == 0, run.stderr
    assert _stopped(server) == []
    assert data.exists()


def test_sshd_is_told_once_and_only_what_it_takes(server: Server) -> None:
    _settled(server)
    for _ in range(2):
        assert server.host("setup", "haproxy").returncode == 0
    assert (server.root / SSHD).read_text() == "Ciphers new\n"
    assert [call for call in server.commands.calls("systemctl") if "ssh.service" in call] == [
        "systemctl try-reload-or-restart ssh.service"
    ]


def test_what_sshd_refuses_is_taken_away_again(server: Server) -> None:
    _settled(server)
    server.commands.say("sshd", "Bad SSH2 cipher spec 'new'.", 255)
    run = server.host("setup", "haproxy")
    assert run.returncode == 1
    assert "Bad SSH2 cipher spec" in run.stderr
    assert not (server.root / SSHD).exists()
    assert not any("ssh.service" in call for call in server.commands.calls("systemctl"))


def test_packages_can_be_installed_beside_a_merged_release(server: Server) -> None:
    _settled(server)
    server.merged.parent.mkdir(parents=True)
    server.merged.touch()
    server.commands.add("dpkg-query", '[[ "$*" == *nftables* ]] || printf installed')
    server.commands.say("systemd-sysext", "")
    assert server.host("setup", "nftables").returncode == 0
    steps = [c.split()[:2] for c in server.commands.calls() if c.startswith(("apt-get", "systemd-sysext"))]
    assert steps == [["systemd-sysext", "unmerge"], ["apt-get", "--yes"], ["systemd-sysext", "merge"]]


def test_packages_that_cannot_be_installed_are_told(server: Server) -> None:
    _settled(server)
    server.commands.add("dpkg-query", '[[ "$*" == *nftables* ]] || printf installed')
    server.commands.say("apt-get", "E: Unable to locate package", 100)
    run = server.host("setup", "nftables")
    assert run.returncode == 1
    assert "on the server: apt-get install nftables" in run.stderr
    assert len(server.commands.calls("apt-get")) == 2, "the list of packages is brought up to date once"


def test_the_servers_own_dns_survives_systemd_resolved(server: Server) -> None:
    _settled(server)
    server.write("etc/resolv.conf", "search example.org\nnameserver 192.0.2.53\nnameserver 127.0.0.1\n")
    server.commands.add("dpkg-query", '[[ "$*" == *systemd-resolved* ]] || printf installed')
    assert server.host("setup", "systemd-resolved").returncode == 0
    assert (server.root / "var/lib/jarvis/upstream-dns").read_text() == "192.0.2.53\n"
    unit = server.root / "etc/systemd/system/jarvis-upstream-dns.service"
    assert "ExecStart=/var/lib/jarvis/bin/host upstream" in unit.read_text()
    server.commands.say("ip", "192.0.2.53 dev eth1 src 192.0.2.11 uid 0\n")
    server.commands.say("resolvectl", "")
    assert server.host("upstream").returncode == 0
    assert server.commands.calls("resolvectl") == [
        "resolvectl dns eth1 192.0.2.53",
        "resolvectl domain eth1 ~.",
    ]
    assert server.host("remove").returncode == 0
    assert not unit.exists()
    kept = server.root / "etc/systemd/resolved.conf.d/upstream.conf"
    assert kept.read_text() == "[Resolve]\nDNS=192.0.2.53\n"


def test_removing_leaves_the_server_as_it_was(server: Server) -> None:
    _settled(server)
    server.host("setup", "nftables")
    assert server.host("remove").returncode == 0
    assert (server.root / "etc/hosts").read_text() == "127.0.0.1 localhost\n"
    assert not (server.root / "etc/systemd/resolved.conf.d/90-jarvis.conf").exists()
    assert server.commands.calls("userdel") == ["userdel etcd"]


def test_what_the_base_is_made_of_is_written_down(server: Server) -> None:
    _settled(server)
    (server.root / "sys/module/overlay").mkdir(parents=True)
    made = server.write("made", "")
    for _ in range(2):
        made.write_text("")
        run = server.commands.run("host.sh", "setup", "jq", root=server.root, JARVIS_MADE=str(made))
        assert run.returncode == 0, run.stderr
    digest = hashlib.sha256(b"Ciphers new\n").hexdigest()
    assert made.read_text().splitlines() == [
        "package jq",
        "module overlay",
        "sysctls /etc/sysctl.d/90-jarvis.conf",
        "hosts /var/lib/jarvis/hosts",
        f"file 0644 root:root {digest} /{SSHD}",
        "unit systemd-resolved.service",
    ]
    made.write_text("")
    assert (
        server.commands.run("host.sh", "without-swap", root=server.root, JARVIS_MADE=str(made)).returncode
        == 0
    )
    assert made.read_text() == "masked swap.target\n"


def test_rights_of_what_sshd_reads_are_put_back(server: Server) -> None:
    _settled(server)
    assert server.host("setup", "jq").returncode == 0
    (server.root / SSHD).chmod(0o666)
    assert server.host("setup", "jq").returncode == 0
    assert (server.root / SSHD).stat().st_mode & 0o777 == 0o644
    assert len([call for call in server.commands.calls("systemctl") if "ssh.service" in call]) == 1


def test_a_resolver_that_somebody_masked_is_back(server: Server) -> None:
    _settled(server)
    server.commands.add("systemctl", '[ "$1" != is-enabled ] || echo masked')
    assert server.host("setup", "jq").returncode == 0
    told = server.commands.calls("systemctl")
    assert told.index("systemctl unmask --quiet systemd-resolved.service") < told.index(
        "systemctl enable --now --quiet systemd-resolved.service"
    )


def test_a_service_that_was_started_with_an_edited_file_is_restarted(server: Server) -> None:
    _settled(server)
    assert server.host("setup", "jq").returncode == 0
    assert len(_restarts(server)) == 2
    # It runs since after the file was written, and since before.
    for since, restarts in ((2**40, 2), (1, 4)):
        server.commands.say("systemctl", f"@{since}\n")
        assert server.host("setup", "jq").returncode == 0
        assert len(_restarts(server)) == restarts


def test_the_release_that_was_asked_for_is_written_down(server: Server) -> None:
    made = server.write("made", "")
    digest, staged = server.send("one")
    run = server.commands.run(
        "release.sh", "activate", digest, staged, root=server.root, JARVIS_MADE=str(made)
    )
    assert run.returncode == 0, run.stderr
    other, staged = server.send("two")
    assert server.release("activate", other, staged).returncode == 0
    assert (
        server.commands.run("release.sh", "rollback", root=server.root, JARVIS_MADE=str(made)).returncode == 0
    )
    assert made.read_text() == f"release {digest}\n"
