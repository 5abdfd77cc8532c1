"""What the documentation names is there: files, routines, tests, targets, links."""

import fnmatch
import itertools
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from docs.markdown_blocks import (
    DATA,
    REASON_WORDS_MIN,
    ROOT,
    RUN,
    SHELL,
    Page,
    files,
    pages,
)

PAGES = pages()
PATH = re.compile(r"\.?[\w*{}][\w.*{},@+-]*(/[\w.*{},@+-]+)*/?")
ENDINGS = re.compile(
    r".*\.(py|sql|md|toml|ya?ml|sh|zig|h|js|css|html|svg|conf|ini|mako|in|cfg|service|example)\}?"
)
# Names with such an ending that are made on a machine, or are another project's.
ELSEWHERE = {".sops.yaml", "docker-compose.override.yml"}
MAKE = re.compile(r"(?:^|[\s;&|(])make((?:\s+[A-Z_]+=\S+)*)\s+([a-z][a-z-]*)")
# With these a line begins that is meant for a shell.
COMMANDS = re.compile(
    r"\s*(\$|age|curl|docker|export|git|kubectl|make|openssl|psql|python3?|scripts/\S+|sops"
    r"|systemctl|\.venv/\S+|[A-Z_]+=\S+) \S"
)
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@cache
def known_files() -> tuple[str, ...]:
    return tuple(f"/{path.relative_to(ROOT)}" for path in files())


@cache
def top_level() -> frozenset[str]:
    return frozenset(path.split("/")[1] for path in known_files())


@cache
def make_targets() -> frozenset[str]:
    return frozenset(TARGET.findall((ROOT / "Makefile").read_text()))


@cache
def names_of_tests() -> frozenset[str]:
    found = set[str]()
    for path in files():
        if path.suffix == ".py" and "test" in str(path.relative_to(ROOT)):
            found.update(re.findall(r"def (test_\w+)", path.read_text()))
    return frozenset(found)


@every_page
def test_every_code_block_says_what_it_is(page: Page) -> None:
    wrong = [b.place for b in page.blocks if b.language not in (*RUN, *DATA)]
    wrong += [f"{page.name}:{line} is indented, not fenced" for line in page.indented_code()]
    assert wrong == []


@every_page
def test_commands_are_not_passed_off_as_text(page: Page) -> None:
    shown = [(b, line) for b in page.blocks if b.language == "text" for line in b.lines]
    assert [f"{b.place}: {line}" for b, line in shown if COMMANDS.match(line)] == []


@every_page
def test_a_command_that_is_not_run_says_why(page: Page) -> None:
    for block in page.blocks:
        unknown = block.info if block.reason is None else ""
        assert not unknown, f"{block.place}: {unknown!r} is not understood"
        if block.reason is not None:
            assert len(block.reason.split()) >= REASON_WORDS_MIN, f"{block.place}: why?"


@every_page
def test_a_command_that_is_not_run_could_be(page: Page) -> None:
    for block in page.blocks:
        if block.reason is None or block.language not in SHELL:
            continue
        script = "\n".join(command.text for command in block.commands())
        done = subprocess.run(
            ["/bin/bash", "-n"], input=script, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block.place}: {done.stderr}"


@every_page
def test_every_target_of_make_that_is_named_exists(page: Page) -> None:
    spoken = [*page.names(), *(line for block in page.blocks for line in block.lines)]
    named = {match[2] for text in spoken for match in MAKE.finditer(text)}
    assert named - make_targets() == set()


@every_page
def test_every_file_that_is_named_exists(page: Page) -> None:
    missing = [name for name in page.names() if not exists(name)]
    missing += [target for target in page.links() if target and not linked(page, target)]
    assert missing == []


@every_page
def test_every_test_that_is_named_exists(page: Page) -> None:
    named = {name for name in page.names() if re.fullmatch(r"test_\w+", name)}
    assert named - names_of_tests() == set()


def linked(page: Page, target: str) -> bool:
    """Say whether a link leads somewhere; an address of the site itself is no file."""
    return target.startswith("/") or (page.path.parent / target).exists()


def exists(name: str) -> bool:
    """Say whether a name in backticks is no path, or the path of something."""
    path, _, inner = name.partition(" ")[0].rstrip(",;:").partition("::")
    if not PATH.fullmatch(path) or not looks_like_ours(path):
        return True
    found = [known for wanted in braces(path) for known in holders(wanted)]
    if {wanted for wanted in braces(path) if not list(holders(wanted))}:
        return False
    return not inner or any(inner in Path(ROOT, file[1:]).read_text() for file in found)


def looks_like_ours(path: str) -> bool:
    first, _, rest = path.partition("/")
    if first in (".run", ".venv", ".env", ".cache", ".git") or "/target" in path:
        return False
    if rest and first in top_level():
        return True
    return ENDINGS.fullmatch(path) is not None and path not in ELSEWHERE


def holders(wanted: str) -> list[str]:
    """Return the files that a path with `*` names, or that are in the folder it names."""
    wanted = wanted.rstrip("/")
    rooted = wanted.split("/")[0] in top_level() and "/" in wanted
    pattern = f"/{wanted}" if rooted else f"*/{wanted}"
    both = (pattern, f"{pattern}/*")
    return [file for file in known_files() if any(fnmatch.fnmatchcase(file, p) for p in both)]


def braces(path: str) -> list[str]:
    """Expand `{a,b}` as the shell does."""
    parts = [part.strip("{}").split(",") for part in re.split(r"(\{[^}]*\})", path)]
    return ["".join(chosen) for chosen in itertools.product(*parts)]


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("db/postgres/procedures/sp_place_order.sql", True),
        ("db/postgres/procedures/sp_misplace_order.sql", False),
        ("backend/src/app/{outbox,audits}/schema.sql", True),
        ("backend/src/app/{outbox,nothing}/schema.sql", False),
        ("models/dto.py", True),
        ("models/dtos.py", False),
        ("scripts/build_zig_lmdb.sh --test", True),
        ("backend/src/app/core/security.py::current_actor", True),
        ("backend/src/app/core/security.py::nobody", False),
        ("docs/", True),
        ("/auth/verify", True),
        (".run/demo.json", True),
        ("app.users", True),
    ],
)
def test_a_missing_file_is_told_from_one_that_is_there(name: str, there: bool) -> None:
    assert exists(name) is there
