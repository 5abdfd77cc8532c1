"""docker-compose.yml is the native service table in containers, each with no more than it needs."""

import json
import os
import re
import shutil
import subprocess
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from platform_client import ROOT

from native import compose
from native.installation import PORTS, InstallationError, find_installation
from native.secret_files import NAMES
from native.services import platform
from native.spec import Service

FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOORS, CORES = ("proxy", "nginx"), ("supertokens", "devcore")
# Another service that does the same; which one runs is a profile's choice.
ALIKE = {"nginx": "proxy", "devcore": "supertokens"}
ONESHOTS = {"bootstrap", "migrate", "seed"}
# Started by a command of its own, never with the others.
ON_DEMAND = {"doctor"}
# What an image does for itself: making the data folder, and building the library.
IN_IMAGES = {"initdb", "zig-lmdb"}
INSIDE = {**{name: port for name, (port, _) in PORTS.items()}, "postgres": 5432}
BINARY = shutil.which(
    "docker-compose", path=f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
)

SECRETS = {
    "postgres": {"postgres_password"},
    "bootstrap": {
        *("postgres_password", "app_migrate_password", "app_write_password"),
        *("app_worker_password", "app_read_password", "core_password"),
    },
    "migrate": {"app_migrate_password", "db_token_key"},
    "pgbouncer": {"pgbouncer_userlist"},
    "supertokens": {"core_password", "core_api_key"},
    "paper": {"webhook_hmac", "qc_token"},
    "seed": {
        *("app_migrate_password", "core_api_key"),
        *("demo_viewer_password", "demo_trader_password", "demo_admin_password"),
    },
    "api": {
        *("app_write_password", "core_api_key", "db_token_key", "webhook_hmac", "worker_token"),
    },
    "doctor": {"postgres_password", "app_migrate_password", "db_token_key", "anchor_key"},
    "worker": {"app_worker_password", "webhook_hmac", "qc_token", "anchor_key"},
    "streamlit": {"app_read_password", "proxy_secret", "streamlit_cookie", "worker_token"},
    "proxy": {"proxy_secret"},
}
# Who may meet whom; nobody else shares a network.
ARROWS = {
    *(("proxy", it) for it in ("api", "streamlit")),
    *(("streamlit", it) for it in ("api", "postgres", "pgbouncer")),
    *(("api", it) for it in ("postgres", "pgbouncer", "supertokens")),
    *(("worker", it) for it in ("postgres", "paper")),
    ("paper", "api"),
    ("pgbouncer", "postgres"),
    ("supertokens", "postgres"),
    *((it, "postgres") for it in ("bootstrap", "migrate", "seed", "doctor")),
    ("seed", "supertokens"),
}


@pytest.fixture(scope="module")
def natively(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Service]:
    it = find_installation({"RUN_DIR": str(tmp_path_factory.mktemp("run"))})
    table = platform(it, admin_socket=Path("unused"))
    return {service.name: service for service in table if service.name not in IN_IMAGES}


def role(name: str) -> str:
    return ALIKE.get(name, name)


def networks(name: str) -> set[str]:
    return set(SERVICES[name]["networks"])


def test_the_services_are_those_of_the_native_table(natively: dict[str, Service]) -> None:
    assert {role(name) for name in SERVICES} == {*natively, "pgbouncer"} | ON_DEMAND


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ON_DEMAND - {"pgbouncer"}))
def test_a_service_waits_for_what_it_needs_natively(
    natively: dict[str, Service], name: str
) -> None:
    waits: dict[str, dict[str, Any]] = SERVICES[name].get("depends_on", {})
    needed = {role(other) for other in waits} - {"pgbouncer"}
    assert needed == set(natively[role(name)].needs) - IN_IMAGES
    for other, wait in waits.items():
        done = other in ONESHOTS
        wanted = "service_completed_successfully" if done else "service_healthy"
        assert wait["condition"] == wanted
        # What a profile leaves out cannot be waited for.
        assert wait.get("required", True) == ("profiles" not in SERVICES[other])


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONESHOTS - ON_DEMAND - {"pgbouncer"}))
def test_a_service_is_asked_for_its_health_at_the_port_and_path_of_the_native_table(
    natively: dict[str, Service], name: str
) -> None:
    service = natively[role(name)]
    asked = " ".join(SERVICES[name]["healthcheck"]["test"])
    by_default = {port: key for key, port in {**INSIDE, "postgres": PORTS["postgres"][0]}.items()}
    ports = {INSIDE[by_default[port]] for port in service.ports.values()}
    assert any(re.search(rf"\b{port}\b", asked) for port in ports)
    probe = service.probe
    assert isinstance(probe, partial)
    if len(probe.args) > 1:
        assert re.search(rf"[ 0-9]{re.escape(probe.args[1])}( |$)", asked, re.MULTILINE), asked


def test_one_shots_have_no_health_and_do_not_come_back(natively: dict[str, Service]) -> None:
    assert {name for name, service in natively.items() if service.oneshot} == ONESHOTS
    for name in ONESHOTS | ON_DEMAND:
        assert "healthcheck" not in SERVICES[name]
        assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_container_can_do_nothing_beside_its_work(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["restart"] == ("no" if name in ONESHOTS | ON_DEMAND else "unless-stopped")
    assert service["logging"]["options"]["max-size"]
    assert service.get("network_mode") is None


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_runs_as_root(name: str) -> None:
    service = SERVICES[name]
    if "build" not in service:
        assert service["user"] in ("postgres", "10001:10001")
        return
    assert "user" not in service
    dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
    assert re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)[-1] == "10001:10001"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_given_its_own_secrets_and_no_other(name: str) -> None:
    assert set(SERVICES[name]["secrets"]) == SECRETS[role(name)]


def test_every_secret_is_a_file_of_the_installation_and_somebodys() -> None:
    named: dict[str, dict[str, str]] = COMPOSE["secrets"]
    for name, secret in named.items():
        assert secret == {"file": f"${{HOST_SECRETS_DIR:-./.run/secrets}}/{name}"}
    assert set(named) == set().union(*SECRETS.values())
    assert set(NAMES) <= set(named)


def test_no_secret_is_handed_over_in_the_environment() -> None:
    for name, service in SERVICES.items():
        for key in service.get("environment", {}):
            word = re.search(r"PASSWORD|SECRET|(^|_)TOKEN|KEY|HMAC", key)
            assert word is None or key.endswith("_FILE"), f"{name}: {key}"


def test_only_those_meet_who_need_each_other() -> None:
    for one, other in product(SERVICES, SERVICES):
        needed = {(role(one), role(other)), (role(other), role(one))} & ARROWS
        shared = networks(one) & networks(other)
        if needed:
            assert shared, f"{one} cannot reach {other}"
        elif role(one) != role(other):
            # They meet around what both need; the door and the screen's side of it are not there.
            assert shared <= {"data", "identity", "venue"}, f"{one} reaches {other}"
    assert networks("proxy") == {"public", "edge"}
    assert networks("paper") == {"venue"}
    assert networks("streamlit") == {"edge", "reads"}
    assert networks("postgres") == networks("pgbouncer") == {"data", "reads"}


def test_nothing_but_the_door_leads_out_or_can_be_reached_from_outside() -> None:
    for name, service in SERVICES.items():
        assert ("ports" in service) == (name in DOORS)
        assert ("public" in service["networks"]) == (name in DOORS)
    for door in DOORS:
        published = "${BIND_ADDRESS:-127.0.0.1}:${HTTP_PORT:-8080}:8080"
        assert SERVICES[door]["ports"] == [published]
    inside = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert inside == COMPOSE["networks"].keys() - {"public"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_can_be_chosen_and_none_is_whatever_is_latest(name: str) -> None:
    service = SERVICES[name]
    bases: dict[str, str] = service.get("build", {}).get("args", {})
    for image in (service["image"], *bases.values()):
        variable = re.fullmatch(
            r"\$\{[A-Z_]+_IMAGE:-([^$}]+:[^$}]+|.+:\$\{IMAGE_TAG:-dev\})\}", image
        )
        assert variable, image
        assert "latest" not in image
    for argument, image in bases.items():
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text()
        default = re.search(rf"^ARG {argument}=(\S+)$", dockerfile, re.MULTILINE)
        assert default
        assert image == f"${{{argument}:-{default[1]}}}"


@pytest.mark.parametrize("name", ["api", "streamlit"])
def test_the_image_starts_its_process_as_the_native_runner_does(
    natively: dict[str, Service], name: str
) -> None:
    dockerfile = (ROOT / SERVICES[name]["build"]["dockerfile"]).read_text()
    command = re.search(r"^CMD (\[\"uvicorn\".*?\])", dockerfile.replace("\\\n", ""), re.M | re.S)
    assert command
    port = str(PORTS[name][0])
    place = {"127.0.0.1": "HOST", "0.0.0.0": "HOST", port: "PORT"}  # noqa: S104
    ours = [place.get(word, word) for word in json.loads(command[1])[1:]]
    theirs = [place.get(word, word) for word in natively[name].argv[3:]]
    assert ours == [word for word in theirs if not word.startswith("--app-dir=")]


def test_the_choice_of_profiles_is_one_of_each_pair() -> None:
    def chosen(named: str) -> list[str]:
        return compose.profiles(find_installation({"PROFILES": named}, ROOT / "tests"))

    assert chosen("") == ["caddy", "supertokens"]
    assert chosen("devcore") == ["caddy", "devcore"]
    assert chosen("nginx, pgbouncer") == ["nginx", "pgbouncer", "supertokens"]
    with pytest.raises(InstallationError, match="choose one"):
        chosen("caddy,nginx")
    with pytest.raises(InstallationError, match="names traefik; there are"):
        chosen("traefik")
    for name in ON_DEMAND:
        assert SERVICES[name]["profiles"] == [name]
    chosen_from = [service for name, service in SERVICES.items() if name not in ON_DEMAND]
    all_profiles = {it for service in chosen_from for it in service.get("profiles", [])}
    assert all_profiles == {name for pair in compose.PAIRS for name in pair} | set(compose.OPTIONS)


needs_compose = pytest.mark.skipif(BINARY is None, reason="no docker-compose: run make setup")


@needs_compose
@pytest.mark.parametrize("choice", ["caddy,supertokens", "nginx,devcore,pgbouncer"])
def test_compose_itself_understands_the_file(choice: str) -> None:
    described = docker_compose(choice)
    assert described.returncode == 0, described.stderr
    services = json.loads(described.stdout)["services"]
    active = set(choice.split(","))
    assert set(services) == {
        name
        for name, service in SERVICES.items()
        if not service.get("profiles") or active & set(service["profiles"])
    }


@needs_compose
def test_without_a_choice_compose_says_what_to_do() -> None:
    refused = docker_compose("")
    assert refused.returncode != 0
    assert "make up MODE=docker" in refused.stderr


def docker_compose(profiles: str) -> "subprocess.CompletedProcess[str]":
    assert BINARY
    return subprocess.run(
        [BINARY, "--file", str(FILE), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "COMPOSE_PROFILES": profiles, "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
