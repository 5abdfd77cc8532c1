"""Files and functions are short enough to be read at once, and say what they are for."""

import ast
import re

from tidy_tree import functions, modules, texts

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
SCRIPT_LINES_MAX = 60
# Longer for a reason: nobody reads these from top to bottom.
LONG = {
    "backend/requirements.txt": "a lock file",
    "backend/requirements-dev.txt": "a lock file",
    "ui/streamlit/requirements.txt": "a lock file",
    "tests/contract/requirements.txt": "a lock file",
    "tests/contract/requirements-mcp.txt": "a lock file",
    "docker-compose.yml": "one table of all containers",
    "docs/data_model.md": "mostly tables, written from the database",
    "backend/src/app/admin/rights.snapshot.txt": "data, written by a test",
}


def test_no_file_is_longer_than_can_be_read() -> None:
    long = {name for name, words in texts() if len(words.splitlines()) > FILE_LINES_MAX}
    assert long <= set(LONG)


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {name: (node.end_lineno or 0) - node.lineno + 1 for name, node in functions()}
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [name for name, tree in modules() if tree.body and not ast.get_docstring(tree)]
    assert silent == []


def test_every_script_is_short_and_says_how_it_is_called() -> None:
    scripts = {name: words for name, words in texts() if name.endswith(".sh")}
    assert max(len(words.splitlines()) for words in scripts.values()) < SCRIPT_LINES_MAX
    for name in (it for it in scripts if it.startswith(("scripts/", "ops/ci/"))):
        lines = scripts[name].splitlines()
        assert lines[0] == "#!/usr/bin/env bash", name
        head = [line for line in lines[1:] if line.startswith("#")]
        assert any(line.startswith(f"#   {name}") for line in head), f"{name} shows no usage"
        assert "set -euo pipefail" in lines or "set -uo pipefail" in lines, name


def test_no_two_test_files_share_a_name() -> None:
    # With importlib mode and no packages, one would shadow the other.
    names = [name.rpartition("/")[2] for name, _ in modules()]
    tests = [it for it in names if re.fullmatch(r"test_.+|.+_test\.py|e2e_.+", it)]
    assert sorted(tests) == sorted(set(tests))
