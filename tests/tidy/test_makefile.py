"""Every handle of the Makefile is listed, and none is mistaken for a file."""

import re
import subprocess

from native.installation import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z][a-z0-9-]*):(?!=)", MAKEFILE, re.MULTILINE)


def test_every_target_is_phony() -> None:
    phony = re.findall(r"^\.PHONY:((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert sorted(" ".join(phony).replace("\\\n", " ").split()) == sorted(TARGETS)


def test_every_target_has_a_line_of_help() -> None:
    helped = re.findall(r"^([a-z][a-z0-9-]*):.*? ## \S", MAKEFILE, re.MULTILINE)
    assert helped == TARGETS


def test_help_prints_every_target() -> None:
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert re.findall(r"^  make (\S+)", done.stdout, re.MULTILINE) == TARGETS
