"""The screen as a whole: every page is guarded, opens through app.py, and asks no foreign host."""

import ast
import re
from pathlib import Path

import pytest
from pages_world import PAGES, SCREEN, Desk, seat, sign_in, texts
from streamlit.testing.v1 import AppTest

PAGE_FILES = sorted((SCREEN / "pages").glob("*.py"))
SOURCES = [SCREEN / "app.py", *PAGE_FILES, *sorted((SCREEN / "components").glob("*.py"))]
PURE = ("charts", "exports", "paging", "formats", "freshness", "outcomes", "palette", "tables",
        "statistics", "windows")  # fmt: skip


def statements(file: Path) -> list[ast.stmt]:
    """What a script does when it runs, without imports, constants and definitions."""
    declared = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    body = ast.parse(file.read_text()).body[1:]
    return [
        node
        for node in body
        if not isinstance(node, declared)
        and not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper())
    ]


def test_the_three_pages_are_there() -> None:
    assert tuple(file.stem for file in PAGE_FILES) == PAGES


@pytest.mark.parametrize("file", PAGE_FILES, ids=lambda file: file.stem)
def test_a_page_asks_who_is_there_before_anything_else(file: Path) -> None:
    assert ast.unparse(statements(file)[0]) == "user = require_user()"


@pytest.mark.parametrize("file", PAGE_FILES, ids=lambda file: file.stem)
def test_a_page_stays_short(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 120


def test_the_entry_asks_who_is_there_before_it_shows_a_page() -> None:
    done = [ast.unparse(node) for node in statements(SCREEN / "app.py")]
    assert done[1] == "require_user()"
    assert done[0].startswith("st.set_page_config(")


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.stem)
def test_nothing_shown_is_unsafe_markup_and_nothing_writes_to_the_database(file: Path) -> None:
    source = file.read_text()
    assert "unsafe_allow" not in source
    assert not re.search(r"\b(INSERT|UPDATE|DELETE|TRUNCATE)\b", source)


@pytest.mark.parametrize("name", PURE)
def test_a_pure_part_knows_neither_streamlit_nor_a_service(name: str) -> None:
    source = (SCREEN / "components" / f"{name}.py").read_text()
    assert "import streamlit" not in source
    assert not re.search(r"from services import|from services\.(?!models)", source)


def test_no_style_or_page_names_a_foreign_host() -> None:
    for file in [*SOURCES, *(SCREEN / "assets").glob("*.css"), *(SCREEN / "assets").glob("*.html")]:
        assert not re.search(r"(https?:)?//[a-z0-9.-]+\.[a-z]{2,}", file.read_text()), file
        assert "@import" not in file.read_text()


def test_the_logo_is_a_square_picture_with_a_transparent_ground() -> None:
    header = (SCREEN / "assets" / "logo.png").read_bytes()[:26]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(header[16:20]) == int.from_bytes(header[20:24]) == 256
    assert header[25] == 6, "no alpha channel"


def test_the_entry_leads_to_each_page(monkeypatch: pytest.MonkeyPatch) -> None:
    seat(monkeypatch, Desk())
    app = AppTest.from_file(str(SCREEN / "app.py"), default_timeout=30)
    sign_in(app, "trader")
    app.run()
    assert [title.value for title in app.title] == ["Dashboard"]
    for page in PAGES[1:]:
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception
        assert [title.value for title in app.title] == [page.partition("_")[2]]


def test_a_stranger_at_the_entry_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = seat(monkeypatch, Desk())
    app = AppTest.from_file(str(SCREEN / "app.py"), default_timeout=30).run()
    assert [header.value for header in app.header] == ["You are signed out"]
    assert desk.reads == []
    assert "Dashboard" not in texts(app)
