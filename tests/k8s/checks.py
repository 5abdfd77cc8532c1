"""Which policies hold for which folder."""

import importlib.util
from functools import partial
from types import ModuleType

from k8s import policies_pods as pods
from k8s import policies_settings as told
from k8s import policies_wiring as wiring
from k8s.rendered import ROOT, Check, Objects


def trial_module() -> ModuleType:
    """Load the script that makes a trial's Secrets."""
    path = ROOT / "ops/k8s-overlays/trial/trial_secrets.py"
    spec = importlib.util.spec_from_file_location("trial_secrets", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trial_keys() -> dict[str, set[str]]:
    """Return the keys of each Secret that this script makes, without making any."""
    keys = {name: set(names) for name, names in trial_module().needs().items()}
    return {**keys, "pgbouncer": {"pgbouncer_userlist"}}


EVERYWHERE: tuple[Check, ...] = (
    pods.hardened,
    pods.limited,
    pods.probed,
    pods.graceful,
    pods.isolated,
    pods.tokenless,
    pods.pinned,
    pods.spread,
    pods.hot_store_is_single,
    wiring.ports_agree,
    wiring.selectors_match,
    wiring.denied_by_default,
    wiring.addresses_are_open,
    wiring.screens_are_named,
    wiring.host_is_public,
    told.settings_known,
    told.maps_exist,
    told.anchors_stay,
    told.secrets_are_own,
    told.no_secret_committed,
)
base_arrows = partial(wiring.arrows_are, wiring.ARROWS)
trial_arrows = partial(wiring.arrows_are, wiring.TRIAL_ARROWS)
production_arrows = partial(wiring.arrows_are, wiring.PRODUCTION_ARROWS)


def production_secrets(objects: Objects) -> list[str]:
    """Check the Secrets of production against what External Secrets makes."""
    return told.secrets_are_provided(told.external_keys(objects), objects)


def trial_secrets(objects: Objects) -> list[str]:
    """Check the Secrets of a trial against what its script makes."""
    return told.secrets_are_provided(trial_keys(), objects)


CHECKS: dict[str, tuple[Check, ...]] = {
    "base": (*EVERYWHERE, base_arrows),
    "trial": (*EVERYWHERE, trial_arrows, trial_secrets),
    "production": (
        *EVERYWHERE,
        production_arrows,
        production_secrets,
        told.production_is_real,
    ),
}
