"""Markdown pages as the tests of the documentation read them: code blocks and names.

The convention: every code block is a fence with a language. `bash`, `sh`, `console` and `sql` are
run, unless the info string says `not-run="why"`; the languages of DATA are only shown. A
`console` block holds `$ command` lines, each followed by what it prints. In `bash` a comment
`# 201: ...` or `# -> text` says what was printed since the last one. `...` stands for anything.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHELL = ("bash", "sh", "console")
RUN = (*SHELL, "sql")
DATA = (
    "mermaid",
    "text",
    "toml",
    "yaml",
    "json",
    "python",
    "ini",
    "caddyfile",
    "nginx",
    "dockerfile",
    "diff",
)
REASON_WORDS_MIN = 3
# What is made on a machine and not kept in the repository.
MADE = (".git", ".venv", ".run", ".cache", "node_modules", "target", "build")
FENCE = re.compile(r"^( *)(```+)(.*)$")
NOT_RUN = re.compile(r'not-run="([^"]*)"')
NAME = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
EXPECTED = re.compile(r"(?:^|\s)# (?:(?P<code>\d{3}):|->) (?P<text>.+)$")
FRAGMENT = re.compile(r'"\w+":(?:"[^"]*"|\w+)')


@dataclass(frozen=True)
class Command:
    """Some lines for the shell, and what they print."""

    lines: tuple[str, ...]
    expected: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Block:
    """A fence: where it begins, its language, what stands behind it, and its lines."""

    page: Path
    line: int
    language: str
    info: str
    lines: tuple[str, ...]

    @property
    def reason(self) -> str | None:
        """Why it is not run; None when it is."""
        match = NOT_RUN.search(self.info)
        return match[1] if match else None

    @property
    def place(self) -> str:
        """Where to look."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[Command]:
        """Take it apart into commands with what each prints."""
        parts = _console(self.lines) if self.language == "console" else _script(self.lines)
        return list(parts)


@dataclass
class Page:
    """One file: its fences, and its text without them."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The path as people write it."""
        return str(self.path.relative_to(ROOT))

    def names(self) -> list[str]:
        """Return everything in backticks, in one line each."""
        return [" ".join(name.split()) for name in NAME.findall("\n".join(self.prose))]

    def links(self) -> list[str]:
        """Return the targets of links to files."""
        targets = LINK.findall("\n".join(self.prose))
        return [target.partition("#")[0] for target in targets if "://" not in target]

    def indented_code(self) -> list[int]:
        """Return the lines at which a code block begins that is no fence."""
        found, in_list = [], False
        for number, (before, line) in enumerate(itertools.pairwise(["", *self.prose]), start=1):
            if line and not line.startswith(" "):
                in_list = bool(re.match(r"([-*+]|\d+\.) ", line))
            if line.startswith("    ") and not before.strip() and not in_list:
                found.append(number)
        return found


def pages() -> list[Page]:
    """Read every Markdown file of the repository."""
    return [read_page(path) for path in sorted(files()) if path.suffix == ".md"]


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Walk the repository without what was made on this machine."""
    for path in folder.iterdir():
        cache = path.name.startswith(".") and path.name.endswith("_cache")
        if path.name in MADE or path.name == "__pycache__" or cache or path.is_symlink():
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def read_page(path: Path) -> Page:
    """Tell fences from text; a line of a fence is an empty line of the text."""
    page, fence, start, kept = Page(path), "", 0, list[str]()
    info, indent = "", 0
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        match = FENCE.match(line)
        if not fence and match:
            indent, fence, info, start, kept = len(match[1]), match[2], match[3].strip(), number, []
        elif fence and match and match[2] >= fence and not match[3].strip():
            language, _, rest = info.partition(" ")
            page.blocks.append(Block(path, start, language, rest.strip(), tuple(kept)))
            fence = ""
        elif fence:
            kept.append(line[indent:])
        if fence or match:
            page.prose.append("")
        else:
            page.prose.append(line)
    if fence:
        raise AssertionError(f"{page.name}:{start}: this fence is never closed")
    return page


def _script(lines: tuple[str, ...]) -> Iterator[Command]:
    gathered: list[str] = []
    for line in lines:
        gathered.append(line)
        if match := EXPECTED.search(line):
            code, text = match["code"], match["text"]
            expected = (code, *FRAGMENT.findall(text)) if code else (text,)
            yield Command(tuple(gathered), expected)
            gathered = []
    if any(line.strip() for line in gathered):
        yield Command(tuple(gathered))


def _console(lines: tuple[str, ...]) -> Iterator[Command]:
    command: list[str] = []
    printed: list[str] = []
    for line in lines:
        if command and command[-1].endswith("\\"):
            command.append(line)
        elif line.startswith("$ "):
            if command:
                yield Command(tuple(command), tuple(printed))
            command, printed = [line[2:]], []
        elif not command:
            raise AssertionError(f"a console block begins with `$ `, not with {line!r}")
        elif line.strip():
            printed.append(line)
    if command:
        yield Command(tuple(command), tuple(printed))
