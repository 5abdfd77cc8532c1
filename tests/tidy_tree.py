"""The files of the repository, as the tidy tests look at them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from native.installation import ROOT

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def files() -> tuple[Path, ...]:
    """Every file that is in the repository or would be with the next commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    paths = {ROOT / name for name in names.decode().split("\0") if name}
    return tuple(sorted(path for path in paths if path.is_file()))


@cache
def text(path: Path) -> str | None:
    """What a file says; nothing when it is no text."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None


def texts() -> Iterator[tuple[str, str]]:
    """The name and the words of every text file."""
    for path in files():
        if (words := text(path)) is not None:
            yield str(path.relative_to(ROOT)), words


@cache
def module(path: Path) -> ast.Module:
    """A Python file as a tree."""
    return ast.parse(path.read_text())


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The name and the tree of every Python file."""
    for path in files():
        if path.suffix == ".py":
            yield str(path.relative_to(ROOT)), module(path)


def functions() -> Iterator[tuple[str, Function]]:
    """The name and the tree of every function of every Python file."""
    for name, tree in modules():
        for node in _statements(tree):
            if isinstance(node, Function):
                yield f"{name}::{node.name}", node


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Everything that stands on lines of its own; expressions hold no function with a name."""
    for block in ("body", "orelse", "handlers", "finalbody", "cases"):
        children = getattr(node, block, ())
        for child in children if isinstance(children, list) else ():
            yield child
            yield from _statements(child)
