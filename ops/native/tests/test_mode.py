"""Where `make up` runs: in containers, or natively with the reason why."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from native import secret_files
from native.installation import ROOT, find_installation
from native.mode import keep

# An engine that has these images; of all others its registry knows nothing.
DOCKER = """#!/bin/sh
case "$1 $2" in
  "info ") exit {info} ;;
  "compose version") exit {compose} ;;
  "compose --progress") cat "$0.config" ;;
  "image inspect") case $3 in {local}) exit 0 ;; *) exit 1 ;; esac ;;
  "manifest inspect") case $3 in {known}) exit 0 ;; *) exit 1 ;; esac ;;
  "ps --all") exit 0 ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
"""
CONFIG = """{"services": {
  "api": {"image": "informania/backend:dev", "build": {"args": {"PYTHON_IMAGE": "python:3.13"}}},
  "postgres": {"image": "postgres:17"}}}
"""


class Machine:
    """A machine with some Docker, or none, and a fresh installation on it."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = folder / "run"
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name in ("sh", "cat", "sleep"):
            program = shutil.which(name)
            assert program
            (self.programs / name).symlink_to(program)

    def with_docker(self, **facts: object) -> "Machine":
        docker = self.programs / "docker"
        given = {"info": 0, "compose": 0, "local": "'python:3.13'|'postgres:17'", "known": "''"}
        docker.write_text(DOCKER.format(**{**given, **facts}))
        docker.chmod(0o755)
        docker.with_name("docker.config").write_text(CONFIG)
        return self

    def choose(self, verb: str = "up", **environ: str) -> tuple[str, str]:
        """The mode that is chosen, and what is said about it."""
        done = subprocess.run(
            [sys.executable, "-m", "native.mode", verb],
            env={
                "PATH": str(self.programs),
                "PYTHONPATH": str(ROOT / "ops"),
                "RUN_DIR": str(self.run_dir),
                **environ,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode == 0) == bool(done.stdout), done.stderr
        return done.stdout.strip(), done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_docker_it_runs_natively_and_says_so(machine: Machine) -> None:
    mode, why = machine.choose()
    assert mode == "native"
    assert "there is no docker here" in why


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"info": 1}, "no Docker engine answers"),
        ({"local": "'python:3.13'"}, "neither here nor in its registry: postgres:17"),
    ],
)
def test_with_half_a_docker_it_runs_natively_and_says_why(
    machine: Machine, facts: dict[str, object], why: str
) -> None:
    mode, said = machine.with_docker(**facts).choose()
    assert (mode, why in said) == ("native", True), said


@pytest.mark.parametrize("facts", [{}, {"local": "'python:3.13'", "known": "'postgres:17'"}])
def test_with_every_image_here_or_in_its_registry_it_runs_in_containers(
    machine: Machine, facts: dict[str, object]
) -> None:
    assert machine.with_docker(**facts).choose()[0] == "docker"


def test_the_choice_is_kept_for_all_handles_until_the_data_goes(machine: Machine) -> None:
    assert machine.choose("status")[0] == "native"
    assert machine.with_docker().choose()[0] == "docker"
    (machine.programs / "docker").unlink()
    for verb in ("up", "down", "status", "logs", "clean"):
        assert machine.choose(verb) == ("docker", "")
    shutil.rmtree(machine.run_dir)
    assert machine.choose("down")[0] == "native"


def test_what_a_person_says_counts_more_than_what_was_kept(machine: Machine) -> None:
    assert machine.with_docker().choose(MODE="native")[0] == "native"
    assert machine.choose()[0] == "native"
    assert machine.choose(MODE="docker")[0] == "docker"
    assert machine.choose(MODE="podman")[1].strip().endswith("use native, docker or auto")


def test_a_native_runs_data_is_not_left_behind_for_empty_containers(machine: Machine) -> None:
    (machine.run_dir / "postgres").mkdir(parents=True)
    (machine.run_dir / "postgres" / "PG_VERSION").write_text("17\n")
    assert machine.with_docker().choose()[0] == "native"


def test_a_platform_that_runs_is_not_started_in_the_other_mode_as_well(machine: Machine) -> None:
    it = find_installation({"RUN_DIR": str(machine.run_dir)}, ROOT / "ops")
    keep(it, "native")
    # Whoever is in charge of a native run holds this lock.
    with it.lock_file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        mode, said = machine.with_docker().choose(MODE="docker")
    assert mode == ""
    assert "it runs with MODE=native: `make down` first" in said


def test_asked_for_containers_without_an_engine_up_says_what_to_do(machine: Machine) -> None:
    machine.with_docker(info=1)
    done = subprocess.run(
        [ROOT / "scripts/run_all.sh", "up"],
        env={
            "PATH": f"{machine.programs}:{os.defpath}",
            "PYTHON": sys.executable,
            "RUN_DIR": str(machine.run_dir),
            "MODE": "docker",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "no Docker engine answers" in done.stderr
    assert "MODE=native" in done.stderr


def test_secrets_that_containers_read_lie_in_a_folder_that_only_its_owner_enters(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "secrets"
    assert secret_files.ensure(folder, mode=0o644)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    before = (folder / "qc_token").read_text()
    assert secret_files.ensure(folder) == []
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert (folder / "qc_token").read_text() == before
