"""No file of the repository holds a secret, or looks as if it did."""

import re
import subprocess

import pytest
from tidy_tree import texts

from native.installation import ROOT

USERLIST = ROOT / "ops/pgbouncer/userlist.txt"
# Strings that only a real credential has. Written so that this file holds none itself.
SHAPES = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE" + " KEY-----",
    "a key of age": "AGE-SECRET" + r"-KEY-1[A-Z0-9]{50,}",
    "a key of AWS": r"\bAKIA" + r"[A-Z0-9]{16}\b",
    "a token of GitHub": r"\bgh[pousr]_" + r"[A-Za-z0-9]{36,}\b",
    "a verifier of Postgres": r"SCRAM-SHA-256\$" + r"\d+:[A-Za-z0-9+/]{16}",
    "an old verifier of Postgres": r"\"md5" + r"[0-9a-f]{32}\"",
    "a signed token": r"\beyJ[A-Za-z0-9_-]{20,}" + r"\.eyJ[A-Za-z0-9_-]{20,}\.",
    "a password in an address": r"\w+://[\w.-]+:"
    + r"(?![\"'{$<]|\w*\.\.\.)[^\s@/:{}$*]{8,}@[\w.-]+",
    # As our own secrets look: 32 bytes in hexadecimal digits.
    "a secret of ours": r"(?<![0-9a-f:])[0-9a-f]{64}(?![0-9a-f])",
}
# Digests, and vectors of standards.
DIGESTS = re.compile(
    r"requirements(-dev)?\.txt$|\.sha256$|(^|/)tests/|/fetch_axe\.sh$|/LICENSE\.md$"
)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_file_looks_as_if_it_held(shape: str) -> None:
    pattern = re.compile(SHAPES[shape])
    found = [
        f"{name}: {match[0][:40]}"
        for name, words in texts()
        if not (shape == "a secret of ours" and DIGESTS.search(name))
        for match in pattern.finditer(words)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("shape", "example"),
    [
        ("a private key", "-----BEGIN " + "EC PRIVATE KEY-----"),
        ("a key of AWS", "AKIA" + "ABCDEFGHIJKLMNOP"),
        ("a token of GitHub", "ghp" + "_" + "a" * 36),
        ("a verifier of Postgres", "SCRAM-SHA-256" + "$4096:" + "c2FsdHNhbHRzYWx0"),
        ("a password in an address", "postgresql://app:" + "correcthorse@db"),
        ("a secret of ours", "password=" + "0f" * 32),
    ],
)
def test_what_looks_like_a_secret_would_be_seen(shape: str, example: str) -> None:
    assert re.search(SHAPES[shape], example)


def test_the_user_list_of_the_pooler_holds_comments_only() -> None:
    lines = USERLIST.read_text().splitlines()
    assert [line for line in lines if line and not line.startswith(";")] == []


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".run/secrets/core_api_key",
        "secrets/api.env",
        "secrets/streamlit.env",
        "secrets/proxy.env",
        "secrets/sops/desk.key",
    ],
)
def test_where_real_secrets_lie_git_does_not_look(path: str) -> None:
    command = ["git", "check-ignore", "--quiet", path]
    ignored = subprocess.run(command, cwd=ROOT, check=False)
    assert ignored.returncode == 0
