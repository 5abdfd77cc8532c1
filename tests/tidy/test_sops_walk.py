"""The commands with age on the page about SOPS give the secrets back, to their owner only."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from native import secret_files
from native.installation import ROOT

PAGE = ROOT / "secrets/sops/README.md"
pytestmark = pytest.mark.skipif(shutil.which("age") is None, reason="needs: apt-get install age")


def walk(folder: Path) -> None:
    """Run what the page shows, in the order in which it shows it."""
    (folder / "secrets/sops").mkdir(parents=True)
    fence = r'^```bash not-run="needs age[^\n]*\n(.*?)^```'
    blocks = re.findall(fence, PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        command = ["bash", "-euo", "pipefail", "-c", block]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=30)


def test_what_was_encrypted_comes_back(tmp_path: Path) -> None:
    kept = tmp_path / ".run/secrets"
    secret_files.ensure(kept)
    walk(tmp_path)
    names = sorted(path.name for path in kept.iterdir())
    restored = tmp_path / "restored"
    assert sorted(path.name for path in restored.iterdir()) == names
    assert all((restored / it).read_text() == (kept / it).read_text() for it in names)


def test_the_encrypted_file_shows_nothing_and_needs_the_key(tmp_path: Path) -> None:
    kept = tmp_path / ".run/secrets"
    secret_files.ensure(kept)
    walk(tmp_path)
    sops = tmp_path / "secrets/sops"
    encrypted = (sops / "desk.tar.age").read_bytes()
    assert not [it for it in kept.iterdir() if it.read_bytes() in encrypted]
    command = ["age-keygen", "-o", str(sops / "other.key")]
    subprocess.run(command, check=True, capture_output=True)
    command = ["age", "--decrypt", f"--identity={sops / 'other.key'}", str(sops / "desk.tar.age")]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    assert (sops / "me.key").stat().st_mode & 0o077 == 0
