"""An identity core that somebody else runs takes the place of ours."""

import os
from pathlib import Path

import pytest

from native.installation import find_installation
from native.services import platform
from native.spec import Service

OUTSIDE = "http://127.0.0.1:13567"


def table(folder: Path, **environ: str) -> dict[str, Service]:
    it = find_installation({"RUN_DIR": str(folder), "PATH": os.defpath, **environ}, folder)
    return {service.name: service for service in platform(it, admin_socket=Path("/x"))}


def test_our_core_runs_when_nobody_names_another(tmp_path: Path) -> None:
    services = table(tmp_path)
    assert services["api"].env["SUPERTOKENS_URI"] == "http://127.0.0.1:3567"
    assert "supertokens" in services["api"].needs


@pytest.mark.parametrize("process", ["api", "seed"])
def test_a_process_speaks_to_the_named_core_with_its_key(tmp_path: Path, process: str) -> None:
    services = table(tmp_path, SUPERTOKENS_URI=OUTSIDE, CORE_API_KEY="of-that-core")
    assert services[process].env["SUPERTOKENS_URI"] == OUTSIDE
    assert services[process].env["CORE_API_KEY"] == "of-that-core"


def test_nothing_waits_for_a_core_that_is_not_ours(tmp_path: Path) -> None:
    services = table(tmp_path, SUPERTOKENS_URI=OUTSIDE)
    assert "supertokens" not in services
    assert not [it.name for it in services.values() if "supertokens" in it.needs]
