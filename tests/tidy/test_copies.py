"""The workflows where GitHub looks are those of ops/ci, pinned, and with no right too many."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from native.installation import ROOT

SOURCES = ROOT / "ops/ci/github-actions"
COPIES = ROOT / ".github/workflows"
WORKFLOWS = sorted(SOURCES.glob("*.yml"))
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+){2}")


def workflow(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def test_the_copies_are_equal_byte_for_byte() -> None:
    sources = {path.name: path.read_bytes() for path in WORKFLOWS}
    copies = {path.name: path.read_bytes() for path in COPIES.iterdir()}
    assert set(sources) == {"build_api.yml", "build_ui.yml", "deploy.yml"}
    assert copies == sources, "run `make ci-sync`"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_to_a_commit_and_names_its_version(path: Path) -> None:
    uses = re.findall(r"uses: (.+)", path.read_text())
    assert [it for it in uses if not it.startswith("$/") and not PINNED.fullmatch(it)] == []


def test_one_action_has_one_version_everywhere() -> None:
    uses = {it for path in WORKFLOWS for it in re.findall(r"uses: (\w.+)", path.read_text())}
    assert len(uses) == len({it.partition("@")[0] for it in uses})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_right_and_a_job_only_what_it_names(path: Path) -> None:
    loaded = workflow(path)
    assert loaded["permissions"] == {}
    for name, job in loaded["jobs"].items():
        assert job["permissions"], name
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        # Building and testing runs code of the change; only pushing and deploying may write.
        assert not writes or name in ("push", "deploy", "rollout"), name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_checkout_leaves_a_credential_behind(path: Path) -> None:
    for job in workflow(path)["jobs"].values():
        for step in job.get("steps", []):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_cluster_is_reached_from_the_protected_environment_alone() -> None:
    jobs = workflow(SOURCES / "deploy.yml")["jobs"]
    assert {name for name, job in jobs.items() if "id-token" in job["permissions"]} == {"rollout"}
    assert jobs["rollout"]["environment"] == "production"
    assert jobs["rollout"]["needs"] == "verify"


def test_nothing_reaches_the_registry_before_all_tests() -> None:
    for name, tested in (("build_api", {"test", "floor", "identity"}), ("build_ui", {"test"})):
        push = workflow(SOURCES / f"{name}.yml")["jobs"]["push"]
        assert tested < set(push["needs"])
        assert push["if"] == "github.event_name == 'push'"


def test_no_workflow_runs_changes_of_strangers_with_our_rights() -> None:
    for path in WORKFLOWS:
        # YAML takes the word `on` for a truth value.
        triggers = yaml.safe_load(path.read_text())[True]
        assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(triggers)


def test_every_command_of_a_workflow_is_there() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for path in WORKFLOWS:
        words = path.read_text()
        assert set(re.findall(r"\bmake ([a-z-]+)", words)) <= set(targets)
        for script in re.findall(r"(?:ops/ci|scripts)/[a-z_]+\.sh|\.ci/run", words):
            assert (ROOT / script).stat().st_mode & 0o111, script
        for tested in re.findall(r"(?:ui|tests|backend|auth)/[\w/.]+\.py", words):
            assert (ROOT / tested).is_file(), tested
