"""The commands of the documentation do what their pages say, on a running platform.

All commands of a page run in one shell, in their order, as in a reader's terminal. The default
ports and `.run` become those of the session's platform. `make up` and `make status` reach that
platform, which is up; `make help` is run; every other target is only looked at by --dry-run, since
`.ci/run` and the tests of the targets run them.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from docs.markdown_blocks import ROOT, SHELL, Block, Command, Page, pages
from platform_client import Platform, eventually

from native.installation import PORTS

pytestmark = [pytest.mark.platform, pytest.mark.xdist_group("platform")]

TIMEOUT_S = 60
SAMPLE_RUN_DIR = "/path/to/informania/.run"
PRELUDE = """
make() {
  case "$*" in
    up | status) PYTHONPATH=ops .venv/bin/python -m native "$@" ;;
    help) command make "$@" ;;
    *) command make --dry-run "$@" >/dev/null ;;
  esac
}
"""
REALLY_RUN = ("make up", "make status", "make help")
END = "@@end of command {}@@"
PAGES = [page for page in pages() if any(b.language in SHELL and not b.reason for b in page.blocks)]
QUERIES = [b for page in pages() for b in page.blocks if b.language == "sql" and not b.reason]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_every_command_of_a_page_does_what_the_page_says(
    page: Page, platform: Platform, tmp_path: Path
) -> None:
    commands = list(commands_of(page, platform))
    script = tmp_path / "page.sh"
    script.write_text(PRELUDE + "\n".join(_ended(n, c) for n, (_, c) in enumerate(commands)))
    await priced(platform)
    output = run_script(script, platform)
    for number, (block, command) in enumerate(commands):
        printed, found, output = output.partition(END.format(number))
        assert found, f"{block.place}: this failed:\n{command.text}\n{printed}"
        check_output(block, command, printed)
    await at_rest(platform)


async def test_every_query_of_the_pages_is_understood(platform: Platform) -> None:
    database = await platform.database()
    try:
        for block in QUERIES:
            transaction = database.transaction()
            await transaction.start()
            try:
                await database.execute("\n".join(block.lines))
            except asyncpg.PostgresError as error:
                pytest.fail(f"{block.place}: {error}")
            finally:
                await transaction.rollback()
    finally:
        await database.close()


def commands_of(page: Page, platform: Platform) -> Iterator[tuple[Block, Command]]:
    """Yield what a page runs, led to the platform of this session."""
    for block in page.blocks:
        if block.language in SHELL and block.reason is None:
            for command in block.commands():
                lines = tuple(led_to(platform, line) for line in command.lines)
                yield block, Command(lines, tuple(led_to(platform, e) for e in command.expected))


def led_to(platform: Platform, text: str) -> str:
    """Replace what is where by default by where it is here."""
    places = {str(port): str(platform.port_base + place) for port, place in PORTS.values()}
    text = re.sub(rf"(?<![\w.])({'|'.join(places)})(?![\w.])", lambda m: places[m[1]], text)
    text = text.replace(SAMPLE_RUN_DIR, str(platform.run_dir))
    return re.sub(r"(?<![\w/.])\.run(?![\w.-])", str(platform.run_dir), text)


def _ended(number: int, command: Command) -> str:
    return f"{command.text}\nprintf '\\n%s\\n' '{END.format(number)}'\n"


def run_script(script: Path, platform: Platform) -> str:
    """Run it as a reader would, and return what it printed."""
    environment = {
        **os.environ,
        "RUN_DIR": str(platform.run_dir),
        "PORT_BASE": str(platform.port_base),
        # What programs take as their defaults where nothing is set.
        "PUBLIC_URL": platform.url,
        "DATABASE_PORT": str(platform.port_base + PORTS["postgres"][1]),
        "SUPERTOKENS_URI": f"http://127.0.0.1:{platform.port_base + PORTS['supertokens'][1]}",
    }
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", str(script)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.stdout


def check_output(block: Block, command: Command, printed: str) -> None:
    """Find what the page promises in what was printed."""
    if block.language == "console":
        if command.text.startswith("make ") and command.text not in REALLY_RUN:
            return
        check_lines(block, command, printed)
        return
    for expected in command.expected:
        found = re.search(rf"(?<!\w){pattern(expected)}(?!\w)", printed)
        assert found, (
            f"{block.place}: {expected!r} is not in the output of\n{command.text}\n{printed}"
        )


def check_lines(block: Block, command: Command, printed: str) -> None:
    """Find the promised lines in their order; a line `...` stands for any number of lines."""
    left = printed.splitlines()
    for expected in command.expected:
        if expected.strip() == "...":
            continue
        while left and not re.search(pattern(expected), left[0]):
            left.pop(0)
        assert left, f"{block.place}: {expected!r} is not printed by\n{command.text}\n{printed}"
        left.pop(0)


def pattern(text: str) -> str:
    """Make what matches a text, in which `...` matches anything."""
    return ".*".join(re.escape(part) for part in text.strip().split("..."))


async def priced(platform: Platform) -> None:
    """Wait until there are prices: an order placed before them is denied."""
    fresh = "SELECT count(*) FROM market.last_prices WHERE received_at > now() - interval '10 s'"
    await until(platform, fresh, lambda count: count > 0)


async def at_rest(platform: Platform) -> None:
    """Wait until orders of the page are through, so that other tests meet a quiet platform."""
    owed = (
        "SELECT (SELECT count(*) FROM app.events_outbox)"
        " + (SELECT count(*) FROM app.inbox WHERE applied_at IS NULL)"
    )
    await until(platform, owed, lambda count: count == 0)


async def until(platform: Platform, query: str, accept: Callable[[int], bool]) -> None:
    """Wait until a count of the database is accepted."""
    database = await platform.database()

    async def look() -> int:
        count: int = await database.fetchval(query)
        return count

    try:
        await eventually(look, accept)
    finally:
        await database.close()
