"""Every policy holds for what Kustomize renders, and complains when a manifest breaks it."""

from pathlib import Path

import pytest
from k8s import breaks_pods, breaks_wiring
from k8s.checks import CHECKS, trial_keys, trial_module
from k8s.rendered import FOLDERS, render

BREAKS = {**breaks_pods.BREAKS, **breaks_wiring.BREAKS}


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_rendered_keeps_every_policy(folder: str) -> None:
    """One test per folder, since all checks together take less than rendering does."""
    objects = render(folder)
    complaints = [complaint for check in CHECKS[folder] for complaint in check(objects)]
    assert complaints == []


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_manifest_is_found(what: str) -> None:
    """The very check complains that is there for it."""
    folder, check, break_it = BREAKS[what]
    objects = render(folder)
    assert check(objects) == []
    break_it(objects)
    assert check(objects) != []


def test_every_policy_is_shown_to_fail() -> None:
    """A check that never complained would hold anything."""
    broken = {id(check) for _, check, _ in BREAKS.values()}
    checks = [check for folder in CHECKS.values() for check in folder]
    assert [check for check in checks if id(check) not in broken] == []


def test_a_trials_secrets_are_made_once(tmp_path: Path) -> None:
    """A second run of the script prints the same Secrets, each with just its own keys."""
    module = trial_module()
    first = list(module.manifests(tmp_path / "secrets"))
    assert first == list(module.manifests(tmp_path / "secrets"))
    assert {it["metadata"]["name"]: set(it["stringData"]) for it in first} == trial_keys()
    assert all(len(value) >= 20 for it in first for value in it["stringData"].values())
