"""Nova's image with the options that its definition gives each process, on a MariaDB with its accounts."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jarvis.config import Environment
from jarvis.openstack.configuration import environment, folder, rendered
from jarvis.openstack.model import AUTHORITIES_FOLDER, Web, Worker, authority_file
from jarvis.openstack.option_list import read_option_list
from jarvis.openstack.options import plain_options
from jarvis.openstack.services.nova import NOVA
from jarvis.pki import generator
from jarvis.stateful.database.mariadb import (
    PORT,
    account_statements,
    database_url,
    grant_statements,
    schema_statements,
)
from jarvis.stateful.queue.rabbitmq import PORT as QUEUE_PORT
from jarvis.stateful.queue.rabbitmq import transport_url
from tests.golden.test_golden import environment_of
from tests.images.test_built import PATIENCE_SECONDS, Unpacked, ask, free_ports, serving, unpack
from tests.unit.test_carry_over import Server

HOST = "127.0.0.1"
CELLS = {"cell0": "nova_cell0", "cell1": "nova_cell1"}
PASSWORDS = {one.name: f"{one.name.replace('_', '')}sPassword" for one in NOVA.databases}
WORKERS = [name for name, process in NOVA.processes.items() if isinstance(process, Worker)]


class Database(Server):
    """A MariaDB that lets in over TLS, as members do."""

    def __init__(self, folder: Path, pair: Mapping[str, str]) -> None:
        [self.port] = free_ports(1)
        for name, text in (("server.pem", pair["certificate"]), ("server.key", pair["key"])):
            (folder / name).write_text(text)
        super().__init__(folder)

    def more(self) -> list[str]:
        return [
            f"--bind-address={HOST}",
            f"--port={self.port}",
            f"--ssl-cert={self.folder}/server.pem",
            f"--ssl-key={self.folder}/server.key",
        ]


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """Nova's image, its databases, and the ports of a queue and of a Keystone where nobody listens."""

    image: Unpacked
    database: Database
    env: Environment
    pair: Mapping[str, str]
    queue: int
    keystone: int

    def variables(self, process: str) -> dict[str, str]:
        """The environment of ``process``; what is a file of its options is in the image."""
        about = NOVA.processes[process]
        options = rendered(plain_options(NOVA, process, self.env, self.known))
        place = self.image.root / folder("nova").lstrip("/")
        place.mkdir(exist_ok=True)
        for name, text in options.files.items():
            (place / name).write_text(text)
        secrets: dict[str, Any] = {
            one.option: database_url(
                user=one.name,
                password=PASSWORDS[one.name],
                host=HOST,
                database=one.name,
                authority=authority_file("database"),
            ).replace(f":{PORT}/", f":{self.database.port}/")
            for one in NOVA.databases_of(about)
        }
        for queue in NOVA.queues_of(about):
            url = transport_url(user=f"{queue.name}-a", password="abc", host=HOST, vhost=queue.name)
            secrets[queue.option] = url.replace(f":{QUEUE_PORT}/", f":{self.queue}/")
        for group in NOVA.keystone.password_groups:
            secrets[f"{group}.password"] = "abc"
            secrets[f"{group}.auth_url"] = f"http://{HOST}:{self.keystone}/v3"
        secrets |= dict.fromkeys(about.shared, "shared")
        secrets |= {
            name: text.replace("$(SERVER_NAME)", "server-1") for name, text in about.addressed.items()
        }
        return {**options.variables, **environment(secrets)}

    @property
    def known(self) -> Any:
        return read_option_list("nova", str(self.image.layout))

    def run(self, process: str, *words: str) -> str:
        return self.image.run(*words, **self.variables(process))

    @contextmanager
    def running(self, process: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """A worker, by its own command, with all that it starts; what it says is in ``log``."""
        about = NOVA.processes[process]
        assert isinstance(about, Worker)
        command, variables = self.image.words(*about.command, **self.variables(process))
        with log.open("wb") as said:
            worker = subprocess.Popen(
                command, env=variables, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            yield worker
        finally:
            # Without a queue it would not end by itself.
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(PATIENCE_SECONDS)


def certificates() -> tuple[str, dict[str, str]]:
    """The certificate of an authority, and a server's that it signed."""
    signer = json.loads(generator.authority({"common_name": "all", "generation": 0}))
    request = {
        "kind": "certificate",
        "authority": {"common_name": "all", "key": signer["key"]},
        "common_name": "one",
        "organizations": [],
        "dns_names": [],
        "addresses": [HOST],
        "client": False,
        "server": True,
    }
    return signer["certificate"], json.loads(generator.generate(request))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    root = tmp_path_factory.mktemp("nova")
    root.chmod(0o755)
    image = unpack("nova", root)
    # Workers have semaphores there, for which a container has a file system in memory.
    (root / "dev/shm").mkdir(parents=True)
    (root / "dev/shm").chmod(0o1777)
    authority, pair = certificates()
    place = root / AUTHORITIES_FOLDER.lstrip("/")
    place.mkdir(parents=True)
    for name in ("database", "queue", "gateway"):
        (place / f"{name}.pem").write_text(authority)
    database = Database(tmp_path_factory.mktemp("mariadb"), pair)
    for one in NOVA.databases:
        database.ask(schema_statements(database=one.name))
        database.ask(account_statements(user=one.name, passwords=[PASSWORDS[one.name]]))
    for one in NOVA.databases:
        for schema in (one.name, *one.reaches):
            database.ask(grant_statements(database=schema, user=one.name))
    queue, keystone = free_ports(2)
    env = environment_of("dev", tmp_path_factory.mktemp("env"))
    yield Deployed(image=image, database=database, env=env, pair=pair, queue=queue, keystone=keystone)
    database.stop()


def migrate(deployed: Deployed) -> None:
    for phase in ("expand", "fill"):
        for migration in NOVA.migrations:
            words = getattr(migration, phase)
            if words:
                deployed.run(migration.process or NOVA.first, *words)


@pytest.fixture(scope="module")
def migrated(deployed: Deployed) -> Deployed:
    migrate(deployed)
    return deployed


def mappings(database: Database) -> list[str]:
    return database.ask(
        "SELECT name, transport_url, database_connection FROM cell_mappings ORDER BY id", "nova_api"
    )


def test_migrations_run_again_and_put_right_what_nova_knows_of_its_cells(migrated: Deployed) -> None:
    database = migrated.database
    template = "{scheme}://{username}:{password}@{hostname}:{port}/"
    wanted = [
        f"cell0\tnone:///\t{template}nova_cell0?{{query}}",
        f"cell1\t{template}nova-cell1\t{template}nova_cell1?{{query}}",
    ]
    assert mappings(database) == wanted
    for schema in CELLS.values():
        assert "instances" in database.ask("SHOW TABLES", schema)
    database.ask("UPDATE cell_mappings SET transport_url = 'x', name = 'y' WHERE name = 'cell1'", "nova_api")
    migrate(migrated)
    assert mappings(database) == wanted


def test_the_api_s_account_reaches_both_cells_and_that_of_the_cell_its_own_alone(migrated: Deployed) -> None:
    listed = migrated.run("api", "nova-manage", "cell_v2", "list_cells", "--verbose")
    for schema in CELLS.values():
        assert f"nova_cell0:{PASSWORDS['nova_cell0']}@{HOST}:{migrated.database.port}/{schema}?" in listed
    assert f"@{HOST}:{migrated.queue}/nova-cell1" in listed
    grants = migrated.database.ask("SHOW GRANTS FOR 'nova_cell1'@'%'")
    assert [line for line in grants if "nova_cell0" in line or "nova_api" in line] == []


def test_the_api_takes_no_token_that_it_cannot_check(migrated: Deployed) -> None:
    [port] = free_ports(1)
    web = NOVA.processes["api"]
    assert isinstance(web, Web)
    with serving(migrated.image, port, migrated.variables("api")) as server:

        def status(path: str, **headers: str) -> int:
            return ask(server, f"http://{HOST}:{port}{path}", headers)[0]

        assert status(web.health) == 200
        assert status("/v2.1/servers") == 401
        assert status("/v2.1/servers", **{"X-Auth-Token": "abc"}) == 503


def test_metadata_asks_for_a_proof(migrated: Deployed) -> None:
    [port] = free_ports(1)
    web = NOVA.processes["metadata"]
    assert isinstance(web, Web)
    words = [*migrated.image.config["Cmd"]]
    words[words.index("application=nova.wsgi.osapi_compute:application")] = f"application={web.module}"
    image = Unpacked(
        root=migrated.image.root, config={**migrated.image.config, "Cmd": words}, layout=migrated.image.layout
    )
    with serving(image, port, migrated.variables("metadata")) as server:

        def status(path: str, **headers: str) -> int:
            return ask(server, f"http://{HOST}:{port}{path}", headers)[0]

        assert status(web.health) == 200
        server_id = {"X-Instance-ID": "1", "X-Tenant-ID": "1", "X-Forwarded-For": "192.0.2.9"}
        assert status("/latest/meta-data", **server_id, **{"X-Instance-ID-Signature": "abc"}) == 403


@contextmanager
def listening(deployed: Deployed) -> Iterator[list[ssl.SSLSocket]]:
    """What shakes hands by TLS at the queue's port, and then says nothing. The connections so far."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(deployed.database.folder / "server.pem", deployed.database.folder / "server.key")
    held: list[ssl.SSLSocket] = []
    with socket.create_server((HOST, deployed.queue)) as listener:

        def accept() -> None:
            while True:
                try:
                    held.append(context.wrap_socket(listener.accept()[0], server_side=True))
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield held
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_SECONDS)
            for each in held:
                each.close()


def until(what: Callable[[], bool], worker: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert worker.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        # Nothing tells but asking.
        time.sleep(0.2)


@pytest.mark.parametrize("process", WORKERS)
def test_a_worker_starts_and_its_probe_knows_whether_it_has_the_queue(
    migrated: Deployed, process: str, tmp_path: Path
) -> None:
    worker = NOVA.processes[process]
    assert isinstance(worker, Worker)
    variables = migrated.variables(process)
    command, inside = migrated.image.words(*worker.probe, **variables)
    [file] = (migrated.image.root / "opt/openstack").rglob("working.py")

    def probe() -> int:
        return subprocess.run(command, env=inside, check=False, timeout=PATIENCE_SECONDS).returncode

    def probe_outside() -> int:
        """Outside of a pod the image has no /proc: the same user looks at that of this machine."""
        words = [*command[:2], "/", "/usr/bin/python3", "-I", "-"]
        done = subprocess.run(
            words, input=file.read_bytes(), env=inside, check=False, timeout=PATIENCE_SECONDS
        )
        return done.returncode

    schema = "nova_cell1" if "nova_cell1" in (worker.databases or ()) else "nova_cell0"
    binary = worker.command[0]

    def known() -> bool:
        return "server-1" in migrated.database.ask(
            f"SELECT host FROM services WHERE `binary` = '{binary}'", schema
        )

    # Without a queue another start would mend nothing.
    assert (probe(), probe_outside()) == (0, 0)
    with listening(migrated) as held:
        assert (probe(), probe_outside()) == (1, 1)
        before, log = len(held), tmp_path / "log"
        with migrated.running(process, log) as running:
            until(known, running, log)
            until(lambda: len(held) > before, running, log)
            assert probe_outside() == 0


def test_what_was_deleted_is_moved_and_later_removed(migrated: Deployed) -> None:
    database = migrated.database
    for host, days in (("old", 100), ("aside", 60), ("new", 1)):
        database.ask(
            "INSERT INTO services (host, `binary`, topic, report_count, deleted, deleted_at) VALUES"
            f" ('{host}', 'x', '{host}', 0, {days}, NOW() - INTERVAL {days} DAY)",
            "nova_cell1",
        )
    [schedule] = NOVA.schedules.values()
    words = schedule.command(NOVA.settings_in(migrated.env))
    # The second time there is nothing to do.
    for _ in range(2):
        migrated.run(schedule.process or NOVA.first, *words)
        left = database.ask("SELECT host FROM services WHERE `binary` = 'x'", "nova_cell1")
        moved = database.ask("SELECT host FROM shadow_services", "nova_cell1")
        assert (left, moved) == (["new"], ["aside"])


def test_workers_that_are_no_more_are_forgotten_and_hosts_never(migrated: Deployed) -> None:
    database = migrated.database
    for schema in CELLS.values():
        database.ask("DELETE FROM services", schema)
        for host, binary, hours in (
            ("moved", "nova-conductor", 25),
            ("moved", "nova-scheduler", 25),
            ("late", "nova-conductor", 23),
            ("lost", "nova-compute", 1000),
        ):
            database.ask(
                "INSERT INTO services SET report_count = 1, deleted = 0, disabled = 0, forced_down = 0,"
                f" uuid = UUID(), version = 1, host = '{host}', `binary` = '{binary}', topic = '{binary}',"
                f" last_seen_up = UTC_TIMESTAMP() - INTERVAL {hours} HOUR",
                schema,
            )
    [schedule] = NOVA.schedules.values()
    migrated.run(schedule.process or NOVA.first, *schedule.command(NOVA.settings_in(migrated.env)))
    for schema in CELLS.values():
        left = database.ask("SELECT host, `binary` FROM services WHERE deleted = 0 ORDER BY host", schema)
        assert left == ["late\tnova-conductor", "lost\tnova-compute"]


@pytest.mark.parametrize("files", [None, ["/etc/nova/api-paste.ini", "/etc/nova/nova.conf"]])
def test_lists_of_values_are_read_by_commands_and_by_the_api(
    deployed: Deployed, files: list[str] | None
) -> None:
    """The API names its files itself (nova.api.openstack.wsgi_app), and reads the folder beside them."""
    program = (
        "from nova import config; from nova.conf import CONF;"
        f" config.parse_args(['x'], default_config_files={files}, prog='nova-api-os-compute');"
        " print(CONF.oslo_messaging_notifications.driver, CONF.host, CONF.upgrade_levels.compute)"
    )
    told = deployed.run("api", "python3", "-c", program)
    assert "['messagingv2'] server-1 auto" in told
