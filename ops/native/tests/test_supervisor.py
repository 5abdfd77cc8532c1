"""The supervisor with toy services: order, restarts, stops, and nobody left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from native.log_files import Follower, rotate, tail
from native.processes import MARK, kill_all, marked
from native.state import read_state

TOY = Path(__file__).with_name("toy_platform.py")
DEADLINE_S = 30.0
SERVE = "touch $DIR/{name}.up; exec sleep 1000"


class Toy:
    """A platform of toy services in a process of its own."""

    def __init__(self, run_dir: Path, services: list[dict[str, Any]]) -> None:
        self.run_dir = run_dir
        (run_dir / "logs").mkdir()
        self.output = run_dir / "output"
        environ = {**os.environ, "PYTHONPATH": str(TOY.parents[2]), MARK: str(run_dir)}
        command = [sys.executable, str(TOY), str(run_dir), json.dumps(services)]
        with self.output.open("wb") as output:
            self.guard = subprocess.Popen(
                command,
                env=environ,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # Whoever runs the tests in the background has them ignore these.
                preexec_fn=listen_to_signals,  # noqa: PLW1509
            )

    @property
    def state(self) -> dict[str, Any]:
        return read_state(self.run_dir / "state.json")

    @property
    def supervisor(self) -> int:
        return int(self.state["supervisor"])

    def service(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = self.state.get("services", {}).get(name, {})
        return facts

    def said(self, text: str) -> bool:
        return text in self.output.read_text()

    def wait(self, condition: Callable[[], object]) -> None:
        until(condition, self.output)

    def wait_until_up(self) -> None:
        self.wait(lambda: self.state.get("phase") == "running")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.guard.send_signal(number)
        return self.guard.wait(DEADLINE_S)

    def left(self) -> list[int]:
        return marked(self.run_dir)


def listen_to_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def until(condition: Callable[[], object], output: Path | None = None) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        said = output.read_text() if output else ""
        assert time.monotonic() < deadline, f"waited in vain; it said:\n{said}"
        time.sleep(0.01)


def _restarted(platform: Toy, times: int) -> bool:
    return bool(platform.service("api")["restarts"] == times)


def service(name: str, script: str = "", **facts: Any) -> dict[str, Any]:
    return {"name": name, "script": script or SERVE.format(name=name), **facts}


def oneshot(name: str, script: str, **facts: Any) -> dict[str, Any]:
    return service(name, script, oneshot=True, **facts)


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[Callable[..., Toy]]:
    started: list[Toy] = []

    def start(*services: dict[str, Any]) -> Toy:
        started.append(Toy(tmp_path, list(services)))
        return started[-1]

    yield start
    for one in started:
        kill_all(one.left)
        one.guard.wait(DEADLINE_S)


def test_services_start_when_what_they_need_is_healthy_or_done(toy: Callable[..., Toy]) -> None:
    platform = toy(
        service(
            "api", "echo api >>$DIR/order; touch $DIR/api.up; exec sleep 99", needs=["migrate"]
        ),
        oneshot("migrate", "sleep 0.1; echo migrated >>$DIR/order", needs=["db"]),
        service("db", "sleep 0.1; echo db >>$DIR/order; touch $DIR/db.up; exec sleep 99"),
    )
    platform.wait_until_up()
    assert (platform.run_dir / "order").read_text().split() == ["db", "migrated", "api"]
    states = {name: facts["state"] for name, facts in platform.state["services"].items()}
    assert states == {"api": "healthy", "migrate": "done", "db": "healthy"}


def test_a_stop_goes_in_reverse_order_and_leaves_nobody(toy: Callable[..., Toy]) -> None:
    script = (
        "trap 'echo {0} >>$DIR/order; exit' {1}; touch $DIR/{0}.up; while :; do sleep 0.05; done"
    )
    platform = toy(
        service("db", script.format("db", "INT"), stop_signal=signal.SIGINT),
        service("api", script.format("api", "TERM"), needs=["db"]),
        service("proxy", script.format("proxy", "TERM"), needs=["api"]),
    )
    platform.wait_until_up()
    assert platform.end() == 0
    assert (platform.run_dir / "order").read_text().split() == ["proxy", "api", "db"]
    assert platform.state["phase"] == "stopped"
    assert platform.left() == []


def test_a_killed_service_is_started_again(toy: Callable[..., Toy]) -> None:
    platform = toy(service("api"))
    platform.wait_until_up()
    before = platform.service("api")["pid"]
    os.kill(before, signal.SIGKILL)
    platform.wait(lambda: platform.service("api")["restarts"] == 1)
    platform.wait(lambda: platform.service("api")["state"] == "healthy")
    assert platform.service("api")["pid"] not in (None, before)


def test_a_service_killed_more_often_than_the_limit_still_comes_back(
    toy: Callable[..., Toy],
) -> None:
    platform = toy(service("api"))
    platform.wait_until_up()
    for kills in range(1, 7):
        os.kill(platform.service("api")["pid"], signal.SIGKILL)
        platform.wait(partial(_restarted, platform, kills))
        platform.wait(lambda: platform.service("api")["state"] == "healthy")


def test_a_service_that_no_longer_starts_is_given_up_until_somebody_asks(
    toy: Callable[..., Toy],
) -> None:
    broken = "[[ -e $DIR/broken ]] && echo no luck && exit 7; "
    platform = toy(service("api", broken + SERVE.format(name="api")), service("db"))
    platform.wait_until_up()
    (platform.run_dir / "broken").touch()
    os.kill(platform.service("api")["pid"], signal.SIGKILL)
    platform.wait(lambda: platform.service("api")["state"] == "failed")
    assert platform.said("api | no luck")
    assert platform.service("db")["state"] == "healthy"
    (platform.run_dir / "broken").unlink()
    platform.guard.send_signal(signal.SIGUSR1)
    platform.wait(lambda: platform.service("api")["state"] == "healthy")


def test_a_service_that_never_starts_fails_the_start_with_its_last_words(
    toy: Callable[..., Toy],
) -> None:
    platform = toy(service("db"), service("api", "echo port in use; exit 3", needs=["db"]))
    assert platform.guard.wait(DEADLINE_S) == 1
    assert platform.said("api | port in use")
    assert platform.state["failure"].startswith("api ended with code 3")
    assert platform.left() == []


def test_a_failed_oneshot_fails_the_start_at_once(toy: Callable[..., Toy]) -> None:
    platform = toy(
        service("db"),
        oneshot("migrate", "echo x >>$DIR/tries; exit 1", needs=["db"]),
        service("api", "touch $DIR/api-ran", needs=["migrate"]),
    )
    assert platform.guard.wait(DEADLINE_S) == 1
    assert (platform.run_dir / "tries").read_text() == "x\n"
    assert not (platform.run_dir / "api-ran").exists()
    assert platform.left() == []


def test_a_program_that_is_missing_is_named(toy: Callable[..., Toy]) -> None:
    platform = toy(oneshot("build", "exec /nonexistent/zig"))
    assert platform.guard.wait(DEADLINE_S) == 1
    assert platform.said("/nonexistent/zig")


def test_a_service_that_is_not_healthy_in_time_is_killed(toy: Callable[..., Toy]) -> None:
    platform = toy(service("api", "exec sleep 99", ready_timeout_s=0.2))
    assert platform.guard.wait(DEADLINE_S) == 1
    assert platform.said("took longer than 0.2 s")


def test_a_service_that_stops_answering_is_shown_and_not_killed(toy: Callable[..., Toy]) -> None:
    platform = toy(service("api"))
    platform.wait_until_up()
    pid = platform.service("api")["pid"]
    (platform.run_dir / "api.up").unlink()
    platform.wait(lambda: platform.service("api")["state"] == "unhealthy")
    (platform.run_dir / "api.up").touch()
    platform.wait(lambda: platform.service("api")["state"] == "healthy")
    assert platform.service("api")["pid"] == pid


def test_progress_names_who_waits_for_whom(toy: Callable[..., Toy]) -> None:
    platform = toy(oneshot("zig", "sleep 1", note="minutes"), service("api", needs=["zig"]))
    platform.wait(lambda: platform.said("(minutes); api must wait for it"))


def test_a_stubborn_service_is_killed_after_its_own_time(toy: Callable[..., Toy]) -> None:
    stubborn = "trap '' TERM; touch $DIR/api.up; while :; do sleep 0.05; done"
    platform = toy(service("api", stubborn, stop_timeout_s=0.3))
    platform.wait_until_up()
    assert platform.end() == 0
    assert platform.said("did not stop in 0.3 s: killed")
    assert platform.left() == []


def test_a_stopped_process_can_be_stopped(toy: Callable[..., Toy]) -> None:
    platform = toy(service("api"))
    platform.wait_until_up()
    os.kill(platform.service("api")["pid"], signal.SIGSTOP)
    assert platform.end() == 0
    assert not platform.said("did not stop")


@pytest.mark.parametrize("detach", ["", "setsid "], ids=["in its group", "in another session"])
def test_grandchildren_go_with_their_service(toy: Callable[..., Toy], detach: str) -> None:
    script = f"{detach}sleep 1000 & touch $DIR/api.up; exec sleep 1000"
    platform = toy(service("api", script))
    platform.wait_until_up()
    os.kill(platform.service("api")["pid"], signal.SIGKILL)
    platform.wait(lambda: platform.service("api")["restarts"] == 1)
    platform.wait(lambda: platform.service("api")["state"] == "healthy")
    # The guard, the supervisor, the service, and its new grandchild.
    platform.wait(lambda: len(platform.left()) == 4)
    assert platform.end() == 0
    assert platform.left() == []


MOMENTS = {
    "before anything runs": lambda _: True,
    "in the first one-shot": lambda toy: toy.service("build").get("state") == "starting",
    "while a service starts": lambda toy: toy.service("db").get("state") == "starting",
    "between two attempts": lambda toy: toy.service("flaky").get("restarts", 0) > 0,
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_start_leaves_nobody(
    toy: Callable[..., Toy], moment: Callable[[Toy], bool], number: signal.Signals
) -> None:
    platform = toy(
        oneshot("build", "sleep 1000 & setsid sleep 1000 & sleep 0.3; wait"),
        service("db", "sleep 1000 & sleep 1000"),
        service("flaky", "sleep 1000 & touch $DIR/flaky.up; sleep 0.2; exit 1"),
    )
    platform.wait(lambda: moment(platform))
    platform.end(number)
    assert platform.left() == []


@pytest.mark.parametrize("phase", ["starting", "running"])
def test_a_killed_supervisor_leaves_nobody(toy: Callable[..., Toy], phase: str) -> None:
    build = [oneshot("build", "sleep 1000")] if phase == "starting" else []
    platform = toy(service("api", "setsid sleep 1000 & " + SERVE.format(name="api")), *build)
    platform.wait(lambda: platform.service("api").get("state") == "healthy")
    assert platform.state["phase"] == phase
    os.kill(platform.supervisor, signal.SIGKILL)
    platform.guard.wait(DEADLINE_S)
    assert platform.left() == []


def test_a_killed_guard_makes_the_supervisor_stop_in_order(toy: Callable[..., Toy]) -> None:
    platform = toy(service("api"))
    platform.wait_until_up()
    platform.guard.kill()
    platform.guard.wait(DEADLINE_S)
    platform.wait(lambda: platform.state["phase"] == "stopped")
    platform.wait(lambda: platform.left() == [])


def test_the_state_file_is_never_seen_half_written(toy: Callable[..., Toy]) -> None:
    platform = toy(service("api", "touch $DIR/api.up; sleep 0.01; exit 1"))
    path = platform.run_dir / "state.json"
    platform.wait(path.exists)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert json.loads(path.read_text())["services"]["api"]


def test_a_log_that_grew_too_large_is_moved_aside(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("ab") as writer:
        follower = Follower(log)
        writer.write(b"one\ntwo\n")
        writer.flush()
        assert follower.lines() == ["one", "two"]
        assert rotate(log, 4)
        writer.write(b"three\n")
        writer.flush()
    assert follower.lines() == ["three"]
    assert tail(log, 5) == ["three"]
    assert tail(tmp_path / "api.log.1", 1) == ["two"]
    assert not rotate(log, 100)
