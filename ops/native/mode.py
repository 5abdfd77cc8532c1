"""Chooses between containers and this machine's own processes, once for an installation."""

import os
import subprocess
import sys
import time

from native import compose
from native.installation import Installation, InstallationError, find_installation
from native.state import take_lock

MODES = ("native", "docker")
MODE_FILE = "mode"
MANIFEST_TIMEOUT_S = 10


def choose(it: Installation, verb: str) -> tuple[str, str]:
    """Return the mode for a verb, and why when nobody had said which."""
    asked = it.environ.get("MODE", "auto")
    if asked not in (*MODES, "auto"):
        raise InstallationError(f"MODE={asked} is unknown: use native, docker or auto")
    kept = _kept(it)
    if asked == "auto":
        if kept or verb != "up":
            return kept or "native", ""
        if (it.data / "PG_VERSION").is_file():
            return "native", "the data of a native run is in this folder"
        obstacle = _obstacle(it)
        return ("native", obstacle) if obstacle else ("docker", "Docker has or finds every image")
    if verb == "up" and kept not in ("", asked) and _runs(it, kept):
        raise InstallationError(f"it runs with MODE={kept}: `make down` first, then choose {asked}")
    return asked, ""


def _kept(it: Installation) -> str:
    try:
        kept = (it.run_dir / MODE_FILE).read_text().strip()
    except OSError:
        return ""
    return kept if kept in MODES else ""


def keep(it: Installation, mode: str) -> None:
    """Remember the mode until the data is removed."""
    it.make_folders()
    (it.run_dir / MODE_FILE).write_text(f"{mode}\n")


def _runs(it: Installation, mode: str) -> bool:
    if mode == "docker":
        return bool(compose.containers(it))
    if (lock := take_lock(it.lock_file)) is None:
        return True
    os.close(lock)
    return False


def _obstacle(it: Installation) -> str:
    """Say why containers cannot be had; nothing when they can."""
    try:
        compose.require(it)
        wanted = compose.base_images(it)
    except InstallationError as error:
        return str(error)
    missing = [image for image in wanted if not compose.is_local(image)]
    absent = _without_manifest(missing)
    return f"neither here nor in its registry: {', '.join(absent)}" if absent else ""


def _without_manifest(images: list[str]) -> list[str]:
    asking = {image: _ask_registry(image) for image in images}
    deadline = time.monotonic() + MANIFEST_TIMEOUT_S
    absent = []
    for image, process in asking.items():
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = -1
        if code != 0:
            absent.append(image)
    return absent


def _ask_registry(image: str) -> "subprocess.Popen[bytes]":
    command = ["docker", "manifest", "inspect", image]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)


def main(verb: str) -> int:
    """Print the mode; `up` keeps it."""
    try:
        it = find_installation()
        mode, reason = choose(it, verb)
        if verb == "up":
            keep(it, mode)
    except InstallationError as error:
        print(f"informania: {error}", file=sys.stderr)
        return 1
    if reason:
        print(f"MODE={mode}: {reason}", file=sys.stderr)
    print(mode)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
