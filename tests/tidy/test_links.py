"""Links between the pages lead somewhere, and the decisions are numbered and listed."""

import re
from pathlib import Path

import pytest
from tidy_tree import files

from native.installation import ROOT

PAGES = [path for path in files() if path.suffix == ".md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
DECISIONS = ROOT / "docs/decisions"


def prose(path: Path) -> str:
    """A page without its code, where brackets mean something else."""
    without = re.sub(r"^( *)```.*?^\1```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", without)


def anchors(path: Path) -> set[str]:
    """What a page can be linked at, as GitHub makes it from the headings."""
    fenced = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", fenced, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_links_of_a_page_resolve(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: no such file"
        assert target.is_relative_to(ROOT), f"{link} leaves the repository"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


def test_decisions_are_numbered_without_a_gap() -> None:
    names = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert [name[:5] for name in names] == [f"{n:04}-" for n in range(1, len(names) + 1)]


@pytest.mark.parametrize("path", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_a_decision_says_its_number_and_is_listed(path: Path) -> None:
    assert path.read_text().startswith(f"# {path.stem[:4]} ")
    assert f"]({path.name})" in (DECISIONS / "README.md").read_text()
