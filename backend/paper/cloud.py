"""What an organization keeps at QuantConnect: projects with their files, compiles, backtests."""

import ast
import hashlib
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ORGANIZATION = hashlib.md5(b"paper", usedforsecurity=False).hexdigest()
PROJECTS_MAX, FILES_MAX, COMPILES_MAX, BACKTESTS_MAX = 200, 50, 200, 100
FILE_SIZE_MAX = 256_000
NAME_MAX = 100
FILE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}\.(py|ipynb|md)")
QUEUED, BUILT, BROKEN = "InQueue", "BuildSuccess", "BuildError"
LANGUAGES = ("Py", "C#")


class Refused(Exception):
    """QuantConnect's ordinary refusal: HTTP 200 and success false."""


def stamp() -> str:
    """Write the present as QuantConnect does."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


@dataclass
class File:
    """One file of a project."""

    content: str
    modified: str = field(default_factory=stamp)


@dataclass
class Project:
    """A project; its number is the account's number at the venue."""

    project_id: int
    name: str
    language: str = "Py"
    description: str = ""
    created: str = field(default_factory=stamp)
    modified: str = field(default_factory=stamp)
    parameters: dict[str, str] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)


@dataclass
class Compile:
    """One build of a project, with the files as they were."""

    compile_id: str
    project_id: int
    files: dict[str, str]
    state: str
    logs: list[str]
    # The first read still finds it in the queue, as with a real one.
    reads: int = 0

    @property
    def state_told(self) -> str:
        return self.state if self.reads > 1 else QUEUED


class Cloud:
    """Projects survive a restart; compiles and backtests do not."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "projects.json"
        self.projects: dict[int, Project] = {}
        self.compiles: dict[str, Compile] = {}
        self.backtests: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            for row in json.loads(self._path.read_text()):
                row["files"] = {name: File(**it) for name, it in row["files"].items()}
                self.projects[row["project_id"]] = Project(**row)

    def save(self) -> None:
        """Put the projects on disk."""
        replace_file(self._path, json.dumps([asdict(it) for it in self.projects.values()]))

    def project(self, project_id: int) -> Project:
        """Find a project; raises Refused."""
        if project_id not in self.projects:
            raise Refused("Project not found")
        return self.projects[project_id]

    def create(self, name: str, language: str, project_id: int | None = None) -> Project:
        """Make a project; raises Refused."""
        if not 0 < len(name.strip()) <= NAME_MAX:
            raise Refused("A project needs a name of at most 100 characters")
        if language not in LANGUAGES:
            raise Refused(f"Language {language[:20]!r} is not one of {', '.join(LANGUAGES)}")
        if len(self.projects) >= PROJECTS_MAX:
            raise Refused("Too many projects")
        number = project_id or max(self.projects, default=1000) + 1
        self.projects[number] = Project(number, name.strip(), language)
        self.save()
        return self.projects[number]

    def remove(self, project_id: int) -> None:
        """Delete a project with its files."""
        del self.projects[self.project(project_id).project_id]
        self.save()

    def put_file(self, project: Project, name: str, content: str) -> File:
        """Create or replace a file; raises Refused."""
        if not FILE_NAME.fullmatch(name):
            raise Refused(f"File name {name[:80]!r} is not allowed")
        if len(content.encode()) > FILE_SIZE_MAX:
            raise Refused(f"File {name} is larger than {FILE_SIZE_MAX} bytes")
        if name not in project.files and len(project.files) >= FILES_MAX:
            raise Refused("The project has too many files")
        project.files[name] = File(content)
        project.modified = stamp()
        self.save()
        return project.files[name]

    def remove_file(self, project: Project, name: str) -> None:
        """Delete a file; raises Refused."""
        if project.files.pop(name, None) is None:
            raise Refused("File not found")
        self.save()

    def build(self, project: Project) -> Compile:
        """Compile what the project holds now."""
        files = {name: it.content for name, it in project.files.items() if name.endswith(".py")}
        logs = _faults(files)
        signature = hashlib.md5(
            json.dumps(files, sort_keys=True).encode(), usedforsecurity=False
        ).hexdigest()
        state = BROKEN if logs else BUILT
        built = Compile(
            f"{secrets.token_hex(16)}-{signature}", project.project_id, files, state,
            logs or ["Build completed"],
        )  # fmt: skip
        while len(self.compiles) >= COMPILES_MAX:
            del self.compiles[next(iter(self.compiles))]
        self.compiles[built.compile_id] = built
        return built

    def built(self, project_id: int, compile_id: str) -> Compile:
        """Find a compile of a project; raises Refused."""
        found = self.compiles.get(compile_id)
        if found is None or found.project_id != project_id:
            raise Refused("Compile id not found")
        return found

    def deployable(self, project_id: int, compile_id: str) -> Compile:
        """Find a compile that succeeded; raises Refused."""
        found = self.built(project_id, compile_id)
        if found.state != BUILT:
            raise Refused("The compile did not succeed")
        return found

    def keep_backtest(self, backtest: dict[str, Any]) -> None:
        """Remember a backtest, and forget the oldest beyond what is kept."""
        while len(self.backtests) >= BACKTESTS_MAX:
            del self.backtests[next(iter(self.backtests))]
        self.backtests[backtest["backtestId"]] = backtest


def _faults(files: dict[str, str]) -> list[str]:
    """What keeps these files from being an algorithm, in the words of a build log."""
    if "main.py" not in files:
        return ["Build Error: no main.py in the project"]
    faults = []
    for name, content in files.items():
        try:
            ast.parse(content, name)
        except (SyntaxError, ValueError, RecursionError) as error:
            line, column = getattr(error, "lineno", 0) or 0, getattr(error, "offset", 0) or 0
            text = getattr(error, "msg", None) or str(error)
            faults.append(f"Build Error: File: {name} Line:{line} Column:{column} - {text}")
    if not faults and "QCAlgorithm" not in files["main.py"]:
        faults.append("Build Error: File: main.py - no class derives from QCAlgorithm")
    return faults


def replace_file(path: Path, text: str) -> None:
    """Write a file anew so that a crash leaves the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
