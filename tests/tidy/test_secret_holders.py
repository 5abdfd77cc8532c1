"""Each process is given the secrets that docs/secrets.md says: compose, Kubernetes, code."""

import re
from collections.abc import Iterator

import pytest
import yaml
from tidy_tree import files

from native import secret_files
from native.installation import ROOT

PAGE = (ROOT / "docs/secrets.md").read_text()
SAME = {"devcore": "supertokens", "nginx": "proxy"}
# On Kubernetes the pod writes this file itself.
MADE_OF = {"pgbouncer_userlist": {"app_write_password", "app_read_password"}}
# Where the code of a process asks for its secrets.
CODE = {
    "api": ("backend/src/app/auth", "backend/src/app/api"),
    "worker": ("backend/worker",),
    "streamlit": ("ui/streamlit",),
}


def holders() -> dict[str, set[str]]:
    """The table of the page."""
    table = PAGE.partition("<!-- who holds what -->")[2].partition("<!-- end -->")[0]
    rows = re.findall(r"^\| ([a-z-]+) \| (`.*) \|$", table, re.MULTILINE)
    return {process: set(re.findall(r"`(\w+)`", secrets)) for process, secrets in rows}


def in_compose() -> dict[str, set[str]]:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return {name: set(facts.get("secrets", [])) for name, facts in services.items()}


def on_kubernetes() -> dict[str, set[str]]:
    path = ROOT / "ops/k8s/secrets-store/external-secrets.yaml"
    found = [it for it in yaml.safe_load_all(path.read_text()) if it]
    return {
        it["metadata"]["name"]: {entry["secretKey"] for entry in it["spec"]["data"]} for it in found
    }


def asked(folders: tuple[str, ...]) -> Iterator[str]:
    """The secrets that code asks for by name."""
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            if "tests" not in path.parts:
                yield from re.findall(r'\.secret\("(\w+)"\)', path.read_text())


def test_containers_are_given_what_the_page_says() -> None:
    wanted = holders()
    for name, given in in_compose().items():
        assert given == wanted.get(SAME.get(name, name), set()), name


def test_pods_are_given_what_the_page_says() -> None:
    wanted = holders()
    given = on_kubernetes()
    assert {"api", "api-hot", "worker", "streamlit", "proxy", "migrate", "bootstrap"} <= set(given)
    for name, secrets in given.items():
        # CloudNativePG wants the superuser's in a Secret of its own.
        row = wanted["postgres" if name.startswith("postgres") else name]
        assert secrets == set().union(*(MADE_OF.get(it, {it}) for it in row)), name


@pytest.mark.parametrize("process", CODE)
def test_no_process_asks_for_a_secret_that_it_is_not_given(process: str) -> None:
    names = set(asked(CODE[process]))
    assert names
    assert names <= holders()[process]


def test_every_secret_that_is_made_is_explained() -> None:
    opens = PAGE.partition("| what it opens |")[2].partition("## ")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", opens, re.MULTILINE))
    assert set(secret_files.NAMES) == explained


def test_the_secrets_folder_of_the_repository_holds_templates_only() -> None:
    folder = ROOT / "secrets"
    names = {str(it.relative_to(folder)) for it in files() if it.is_relative_to(folder)}
    templates = {f"templates/{it}.env.example" for it in ("api", "proxy", "streamlit")}
    assert names == {*templates, "sops/README.md"}
