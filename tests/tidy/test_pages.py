"""Every page of the screen asks who is there before it does anything else."""

import ast
from pathlib import Path

import pytest
from tidy_tree import module

from native.installation import ROOT

SCREEN = ROOT / "ui/streamlit"
PAGES = [SCREEN / "app.py", *sorted((SCREEN / "pages").glob("*.py"))]
# Before the gate a page may define, import, and say how the window looks.
HARMLESS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
WINDOW = "st.set_page_config"


def first_deed(tree: ast.Module) -> ast.stmt:
    """The first statement that does something."""
    deeds = (node for node in tree.body if not isinstance(node, HARMLESS) and not _still(node))
    return next(deeds)


def _still(node: ast.stmt) -> bool:
    calls = [it for it in ast.walk(node) if isinstance(it, ast.Call)]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ast.unparse(node.value.func) == WINDOW
    # A docstring, or a constant of the page.
    plain = all(ast.unparse(call.func) == "Path" for call in calls)
    return isinstance(node, ast.Expr | ast.Assign) and plain


def test_there_are_the_pages_of_the_layout() -> None:
    assert [path.stem for path in PAGES[1:]] == ["01_Dashboard", "02_Reports", "03_Trades"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_calls_the_gate_before_anything_else(page: Path) -> None:
    deed = first_deed(module(page))
    assert isinstance(deed, ast.Assign | ast.Expr)
    assert ast.unparse(deed.value) == "require_user()"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_gate_of_a_page_is_the_one_gate(page: Path) -> None:
    imports = [ast.unparse(node) for node in module(page).body if isinstance(node, ast.ImportFrom)]
    assert "from components.auth_gate import require_user" in imports


@pytest.mark.parametrize(
    "source",
    [
        "import streamlit as st\nst.title('Hello')\nuser = require_user()\n",
        "rows = read()\nuser = require_user()\n",
        "for row in read():\n    show(row)\nuser = require_user()\n",
        "with st.container():\n    user = require_user()\n",
    ],
)
def test_a_page_that_does_something_first_would_be_seen(source: str) -> None:
    deed = first_deed(ast.parse(source))
    guarded = isinstance(deed, ast.Assign | ast.Expr) and ast.unparse(deed.value)
    assert guarded != "require_user()"
