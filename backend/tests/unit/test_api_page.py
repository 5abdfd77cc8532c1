"""docs/api.md lists every problem that the code knows."""

import os
import re
from collections.abc import Iterator

from app.core import errors, errors_operations, errors_tokens, errors_trading
from app.core.errors import AppError
from app.core.security import SessionExpired, SessionRequired
from app.services.database_setup import REPOSITORY_DIR

PAGE = REPOSITORY_DIR / "docs/api.md"
MARKED = re.compile(
    r"(<!-- BEGIN GENERATED problems -->\n).*?(<!-- END GENERATED problems -->)", re.DOTALL
)


def kinds() -> list[type[AppError]]:
    modules = (vars(errors), vars(errors_trading), vars(errors_tokens), vars(errors_operations))
    found = {it for names in modules for it in names.values() if isinstance(it, type)}
    ours = {it for it in found if issubclass(it, AppError)} | {SessionExpired, SessionRequired}
    return sorted(ours, key=lambda kind: (kind.status, kind.code))


def drawn() -> Iterator[str]:
    yield "| status | code | what it says | what to do |\n|---|---|---|---|\n"
    for kind in kinds():
        yield f"| {int(kind.status)} | `{kind.code}` | {kind.title()} | {kind.remedy} |\n"


def test_the_page_lists_every_problem() -> None:
    page = PAGE.read_text()
    fresh = MARKED.sub(lambda found: found[1] + "".join(drawn()) + found[2], page)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(fresh)
    assert PAGE.read_text() == fresh, "docs/api.md is stale: UPDATE_DOCS=1 with this test"
    assert "| 409 | `replace_denied` |" in fresh


def test_no_two_problems_share_a_code() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(codes) == len(set(codes))
