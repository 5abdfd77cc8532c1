"""What only containers can show, on the platform that `make test-compose` runs in them."""

import asyncio
import json
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from compose_client import ComposePlatform, docker
from platform_client import ROOT, Platform, Trader, eventually

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
ASK = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


@pytest.fixture
def containers(platform: Platform) -> dict[str, dict[str, Any]]:
    assert isinstance(platform, ComposePlatform)
    return {name: platform.container(name) for name in platform.status()["services"]}


def running(containers: dict[str, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, container in containers.items():
        if container["State"]["Running"]:
            yield name, container


def inside(container: dict[str, Any], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the process of the container runs."""
    argv = ["docker", "exec", container["Id"], *command]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)


async def test_the_series_are_hypertables_of_timescaledb(platform: Platform) -> None:
    database = await platform.database()
    try:
        rows = await database.fetch(
            "SELECT hypertable_name AS name FROM timescaledb_information.hypertables"
            " WHERE hypertable_schema = 'market'"
        )
        assert {row["name"] for row in rows} == {"bars", "quotes", "equity"}
        assert await database.fetchval("SELECT market.has_timescale()")
        chunks = "SELECT count(*) FROM timescaledb_information.chunks"
        assert await database.fetchval(f"{chunks} WHERE hypertable_name = 'bars'") > 0
    finally:
        await database.close()


def test_everything_is_healthy_and_nothing_had_to_be_restarted(platform: Platform) -> None:
    for name, facts in platform.status()["services"].items():
        assert facts["state"] == ("done" if facts["oneshot"] else "healthy"), name
        assert facts["restarts"] == 0, name


def test_no_process_is_root_or_may_become_it(containers: dict[str, dict[str, Any]]) -> None:
    for name, container in running(containers):
        for pid in docker("top", container["Id"], "-o", "pid").split()[1:]:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            assert "0" not in facts["Uid"].split(), name
            assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0, name
            assert facts["NoNewPrivs"] == "1", name


def test_no_root_folder_can_be_written(containers: dict[str, dict[str, Any]]) -> None:
    for name, container in running(containers):
        assert container["HostConfig"]["ReadonlyRootfs"], name
        assert inside(container, "sh", "-c", "echo x >/etc/x").returncode != 0, name


def test_a_container_sees_its_own_secrets_only(containers: dict[str, dict[str, Any]]) -> None:
    for name, container in running(containers):
        seen = inside(container, "ls", "/run/secrets")
        assert set(seen.stdout.split()) == set(SERVICES[name]["secrets"]), name


@pytest.mark.parametrize(
    ("name", "host", "port"),
    [
        ("streamlit", "paper", 5612),
        ("streamlit", "supertokens", 3567),
        ("worker", "streamlit", 8501),
        ("worker", "supertokens", 3567),
        ("paper", "postgres", 5432),
        ("paper", "streamlit", 8501),
    ],
)
def test_a_service_does_not_reach_what_it_does_not_need(
    containers: dict[str, dict[str, Any]], name: str, host: str, port: int
) -> None:
    assert inside(containers[name], "python", "-c", ASK, host, str(port)).returncode != 0


def test_what_a_service_needs_is_reached_the_same_way(
    containers: dict[str, dict[str, Any]],
) -> None:
    for name, host, port in (("streamlit", "api", 8000), ("worker", "postgres", 5432)):
        asked = inside(containers[name], "python", "-c", ASK, host, str(port))
        assert asked.returncode == 0, asked.stderr


def test_only_the_door_has_a_port_outside_and_a_way_out(
    platform: Platform, containers: dict[str, dict[str, Any]]
) -> None:
    for name, container in running(containers):
        published = [
            address
            for addresses in (container["NetworkSettings"]["Ports"] or {}).values()
            for address in addresses or []
        ]
        if name in ("proxy", "nginx"):
            wanted = {"HostIp": "127.0.0.1", "HostPort": str(platform.port_base)}
            assert published == [wanted]
            continue
        assert published == [], name
        joined = container["NetworkSettings"]["Networks"]
        inspected = docker("network", "inspect", *joined, "--format", "{{.Internal}}")
        assert set(inspected.split()) == {"true"}, name


def test_an_address_in_a_foreign_network_is_no_way_around_its_name(
    containers: dict[str, dict[str, Any]],
) -> None:
    own = set(containers["paper"]["NetworkSettings"]["Networks"])
    foreign = [
        (network["IPAddress"], port)
        for name, port in (("postgres", 5432), ("streamlit", 8501), ("proxy", 8080))
        if name in containers
        for joined, network in containers[name]["NetworkSettings"]["Networks"].items()
        if joined not in own
    ]
    assert foreign
    for address, port in foreign:
        asked = inside(containers["paper"], "python", "-c", ASK, address, str(port))
        assert asked.returncode != 0, (address, port)


def examined(platform: ComposePlatform) -> list[dict[str, str]]:
    """What the doctor finds, asked on this machine."""
    done = platform.command(sys.executable, "-m", "app.admin", "--json", "doctor")
    assert done.stdout, done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


async def test_the_doctor_examines_the_containers_and_finds_a_fault(platform: Platform) -> None:
    assert isinstance(platform, ComposePlatform)

    async def complaints() -> dict[str, str]:
        found = await asyncio.to_thread(examined, platform)
        assert all(row["remedy"] for row in found if row["level"] != "ok")
        return {row["check"]: f"{row['level']}: {row['what']}" for row in found
                if row["level"] != "ok"}  # fmt: skip

    # The first anchor is made ten seconds after the start.
    await eventually(complaints, lambda found: set(found) == {"backups"}, timeout_s=90)
    database = await platform.database()
    try:
        await database.execute("ALTER ROLE app_write SET synchronous_commit = off")
        # Of a table of whose columns it may read none: to revoke the whole would revoke those.
        await database.execute("GRANT SELECT ON app.events_outbox TO app_read")
        found = await complaints()
    finally:
        await database.execute("ALTER ROLE app_write RESET synchronous_commit")
        await database.execute("REVOKE SELECT ON app.events_outbox FROM app_read")
        await database.close()
    assert set(found) == {"backups", "settings", "rights"}
    assert "synchronous_commit is off for app_write" in found["settings"]
    assert "app.events_outbox: app_read may SELECT" in found["rights"]


@pytest.mark.parametrize("topic", ["backup", "restore"])
def test_what_containers_have_not_is_refused_in_words(platform: Platform, topic: str) -> None:
    assert isinstance(platform, ComposePlatform)
    done = platform.command(sys.executable, "-m", "app.admin", topic)
    assert done.returncode == 1
    assert "runs in containers" in done.stderr
    assert "docs/backup.md" in done.stderr


async def test_a_killed_worker_comes_back_and_sends_what_was_placed_meanwhile(
    platform: Platform, trader: Trader
) -> None:
    assert isinstance(platform, ComposePlatform)
    platform.crash("worker")
    key = f"compose-{uuid.uuid4().hex[:20]}"
    placed = await trader.place(key)
    assert placed.status_code == httpx.codes.CREATED, placed.text

    async def look() -> str:
        status: str = (await trader.order(key)).json()["status"]
        return status

    await eventually(look, lambda status: status == "filled", timeout_s=60)


async def test_a_second_start_resumes_with_its_data(platform: Platform, trader: Trader) -> None:
    key = f"compose-{uuid.uuid4().hex[:20]}"
    assert (await trader.place(key)).status_code == httpx.codes.CREATED
    before = platform.demo
    assert platform.native("down").returncode == 0
    assert platform.status()["services"] == {}
    again = platform.native("up")
    assert again.returncode == 0, again.stdout
    assert f"Informania is up: {platform.url}" in again.stdout
    assert platform.demo == before
    file = platform.run_dir / "demo.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(file) in again.stdout
    async with Trader(platform, "trader") as returned:
        assert (await returned.order(key)).json()["client_order_id"] == key


def test_a_one_shot_can_be_run_again(platform: Platform) -> None:
    for name in ("bootstrap", "migrate", "seed"):
        done = platform.native("run", name)
        assert done.returncode == 0, done.stderr


def test_the_status_is_told_to_programs_as_well(platform: Platform) -> None:
    told = json.loads(platform.native("status", "--json").stdout)
    assert told["phase"] == "running"
    assert told["url"] == platform.url
