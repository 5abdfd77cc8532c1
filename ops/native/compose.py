"""Speaks to Docker Compose on behalf of an installation."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from native.installation import Installation, InstallationError

# Of each pair one runs; the first, unless a person names the other.
PAIRS = (("caddy", "nginx"), ("supertokens", "devcore"))
OPTIONS = ("pgbouncer",)
ENGINE_TIMEOUT_S = 10
POOLED = {"POOLED_DATABASE_HOST": "pgbouncer", "POOLED_DATABASE_PORT": "6432"}

Container = dict[str, Any]


def require(it: Installation) -> None:
    """Say in one sentence what is missing for containers, if anything is."""
    if shutil.which("docker") is None:
        raise InstallationError("there is no docker here: install Docker, or use MODE=native")
    if not _works("docker", "info"):
        raise InstallationError(
            "no Docker engine answers: start it, or join the group docker; or use MODE=native"
        )
    program(it)


def program(it: Installation) -> list[str]:
    """Return how Compose is called here."""
    if _works("docker", "compose", "version"):
        return ["docker", "compose"]
    ours = str(it.root / ".venv/bin/docker-compose")
    if _works(ours, "version"):
        return [ours]
    raise InstallationError(
        "there is no Docker Compose: install its plugin, or run `make setup`, which brings one;"
        " or use MODE=native"
    )


@cache
def _works(*command: str) -> bool:
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.run(
            command,
            check=False,
            timeout=ENGINE_TIMEOUT_S,
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return process.returncode == 0


def profiles(it: Installation) -> list[str]:
    """Return the profiles that run: one of each pair, and the options."""
    named = (it.setting("PROFILES", "") or it.setting("COMPOSE_PROFILES", "")).replace(",", " ")
    chosen = set(named.split())
    known = {name for pair in PAIRS for name in pair} | set(OPTIONS)
    if unknown := sorted(chosen - known):
        raise InstallationError(
            f"PROFILES names {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )
    for pair in PAIRS:
        if chosen.issuperset(pair):
            raise InstallationError(f"PROFILES names {' and '.join(pair)}: choose one")
        if not chosen.intersection(pair):
            chosen.add(pair[0])
    return sorted(chosen)


def project(it: Installation) -> str:
    """Return the name under which the engine knows this installation, unlike any other's."""
    place = hashlib.sha256(os.fsencode(it.run_dir)).hexdigest()[:8]
    return it.setting("COMPOSE_PROJECT_NAME", f"informania-{place}")


def environment(it: Installation) -> Mapping[str, str]:
    """Return what docker-compose.yml asks of its environment."""
    chosen = profiles(it)
    return {
        **it.environ,
        **(POOLED if "pgbouncer" in chosen else {}),
        "COMPOSE_PROJECT_NAME": project(it),
        "COMPOSE_PROFILES": ",".join(chosen),
        "HOST_SECRETS_DIR": str(it.secrets),
        "HTTP_PORT": str(it.ports["proxy"]),
        "PUBLIC_URL": it.url,
        "PUBLIC_NAME": it.host.partition(":")[0],
        # The settings above are whole; a file that Compose found by itself would be read twice.
        "COMPOSE_DISABLE_ENV_FILE": "true",
    }


def command(it: Installation, *arguments: str) -> list[str]:
    """Return a call of Compose for this installation."""
    # A terminal shows progress in place; a file would get each line twice.
    progress = ["--progress", "auto" if sys.stderr.isatty() else "quiet"]
    file = ["--file", str(it.root / "docker-compose.yml"), "--project-directory", str(it.root)]
    return [*program(it), *progress, *file, *arguments]


def run(it: Installation, *arguments: str) -> int:
    """Call Compose, whose words go to the person."""
    return subprocess.run(
        command(it, *arguments), check=False, env=environment(it), stdin=subprocess.DEVNULL
    ).returncode


def output(argv: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Return what a program prints; its own words say what went wrong."""
    done = subprocess.run(
        argv, check=False, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise InstallationError(f"{' '.join(argv[:3])} failed: {done.stderr.strip()[-800:]}")
    return done.stdout


def containers(it: Installation) -> list[Container]:
    """Return what the engine knows of our containers, also of those that have ended."""
    ours = f"label=com.docker.compose.project={project(it)}"
    ids = output(["docker", "ps", "--all", "--quiet", "--filter", ours]).split()
    if not ids:
        return []
    found: list[Container] = json.loads(output(["docker", "inspect", *ids]))
    return sorted(found, key=service_of)


def service_of(container: Container) -> str:
    """Return the name of a container in docker-compose.yml."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def base_images(it: Installation) -> list[str]:
    """Return every image that somebody else made: those we run and those we build upon."""
    text = output(command(it, "config", "--format", "json"), environment(it))
    images: set[str] = set()
    for service in json.loads(text)["services"].values():
        bases = (service.get("build") or {}).get("args") or {"image": service["image"]}
        images.update(bases.values())
    return sorted(images)


def volumes(it: Installation) -> list[str]:
    """Return the volumes that hold the data of an installation."""
    ours = f"label=com.docker.compose.project={project(it)}"
    return output(["docker", "volume", "ls", "--quiet", "--filter", ours]).split()


def remove_images(it: Installation) -> None:
    """Remove the images that were built here; those that another installation runs stay."""
    text = output(command(it, "config", "--format", "json"), environment(it))
    built = {one["image"] for one in json.loads(text)["services"].values() if "build" in one}
    quiet = subprocess.DEVNULL
    remove = ["docker", "image", "rm", *sorted(built)]
    subprocess.run(remove, check=False, stdin=quiet, stdout=quiet, stderr=quiet)


def is_local(image: str) -> bool:
    """Say whether the engine has an image."""
    return _works("docker", "image", "inspect", image)
