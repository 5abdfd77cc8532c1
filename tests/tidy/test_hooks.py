"""The hooks run what `make check` runs, from this machine only."""

import re
from typing import Any

import yaml

from native.installation import ROOT

CONFIG: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
HOOKS: list[dict[str, Any]] = CONFIG["repos"][0]["hooks"]


def test_every_group_of_checks_has_a_hook() -> None:
    script = (ROOT / "scripts/check.sh").read_text()
    groups = set(re.findall(r"^check (\w+) ", script, re.MULTILINE))
    hooked = {it["entry"].split()[-1] for it in HOOKS if "check.sh" in it["entry"]}
    assert hooked == groups
    usage = re.search(r"check\.sh GROUP \.\.\. +(.+), as the hooks", script)
    assert usage
    assert set(re.findall(r"\w+", usage[1])) - {"or"} == groups


def test_no_hook_downloads_anything() -> None:
    assert [it["repo"] for it in CONFIG["repos"]] == ["local"]
    assert {it["language"] for it in HOOKS} == {"system"}


def test_no_hook_is_installed_unasked() -> None:
    setup = [(ROOT / it).read_text() for it in ("scripts/init_dev.sh", "Makefile", ".ci/run")]
    assert not any(re.search(r"pre-commit install|prek install", it) for it in setup)
