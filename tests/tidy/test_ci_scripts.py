"""The scripts of the workflows do in order what they promise, before a cluster ever sees them."""

import base64
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from native.installation import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
KUBECTL = ROOT / ".venv/bin/kubectl"
DIGEST = "sha256:" + "ab" * 32
NAMES = ("backend", "caddy", "streamlit", "supertokens")
IMAGES = {name: f"ghcr.io/desk/app/{name}@{DIGEST}" for name in NAMES}
# Stand-ins on the path: what would change a cluster is written down instead.
RECORDER = """
    #!/bin/sh
    [ "$1" = kustomize ] && exec {kubectl} "$@"
    case "$*" in *"--filename -"*) cat >"$RECORDS/$(ls "$RECORDS" | wc -l).yaml" ;; esac
    echo "$*" >>"$RECORDS.log"
"""
SETTER = """
    #!{python}
    import sys, yaml
    assert sys.argv[1:4] == ["edit", "set", "image"], sys.argv
    name, _, image = sys.argv[4].partition("=")
    path = "kustomization.yaml"
    document = yaml.safe_load(open(path))
    (entry,) = [it for it in document["images"] if it["name"] == name]
    entry.pop("newTag", None)
    entry["newName"], entry["digest"] = image.split("@")
    with open(path, "w") as file:
        yaml.safe_dump(document, file)
"""


def program(path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text).lstrip())
    path.chmod(0o755)


def run(script: str, root: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    path = f"{environ.pop('BIN', '')}:{KUBECTL.parent}:{os.environ['PATH']}"
    command = ["bash", *script.split()]
    environ = {"PATH": path, "HOME": str(root), **environ}
    return subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def issuer() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """GitHub's issuer of tokens, as a job sees it; what it was asked is kept."""
    asked = []

    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"count": 1, "value": "token-of-the-job"}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Issuer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token?api-version=2", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_job_signs_in_to_the_cluster_with_its_own_token(
    tmp_path: Path, issuer: tuple[str, list[tuple[str, str]]]
) -> None:
    url, asked = issuer
    config = tmp_path / "run/kubeconfig"
    done = run(
        str(ROOT / "ops/ci/cluster_login.sh"), tmp_path,
        KUBECONFIG=str(config), ACTIONS_ID_TOKEN_REQUEST_URL=url,
        ACTIONS_ID_TOKEN_REQUEST_TOKEN="asks", CLUSTER_SERVER="https://cluster.example.com",
        CLUSTER_CA=base64.b64encode(b"authority").decode(), CLUSTER_AUDIENCE="desk",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert asked == [("/token?api-version=2&audience=desk", "bearer asks")]
    written = yaml.safe_load(config.read_text())
    cluster = written["clusters"][0]["cluster"]
    assert cluster["server"] == "https://cluster.example.com"
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"authority"
    token = Path(written["users"][0]["user"]["tokenFile"])
    assert token.read_text().strip() == "token-of-the-job"
    assert (config.stat().st_mode | token.stat().st_mode) & 0o077 == 0
    assert "token-of-the-job" not in done.stdout + done.stderr


def test_a_job_without_its_variables_says_which_is_missing(tmp_path: Path) -> None:
    done = run(
        str(ROOT / "ops/ci/cluster_login.sh"), tmp_path, KUBECONFIG=str(tmp_path / "k"),
        ACTIONS_ID_TOKEN_REQUEST_URL="http://127.0.0.1:9", ACTIONS_ID_TOKEN_REQUEST_TOKEN="x",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "cluster_login: CLUSTER_SERVER is not set\n")


@pytest.mark.parametrize("call", ["build other", "fly backend", "push backend"])
def test_an_image_that_cannot_be_had_is_refused_by_name(tmp_path: Path, call: str) -> None:
    shutil.copytree(ROOT / "ops/ci", tmp_path / "ops/ci")
    done = run(f"{tmp_path}/ops/ci/image.sh {call}", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("image: ")


def copy_manifests(tree: Path) -> Path:
    """The manifests in a folder of their own, and the stand-ins."""
    for name in ("ops/ci", "ops/k8s", "ops/k8s-overlays", "ops/pgbouncer", "db/postgres/config"):
        shutil.copytree(ROOT / name, tree / name)
    (tree / "bin").mkdir()
    (tree / "records").mkdir()
    program(tree / "bin/kubectl", RECORDER.format(kubectl=KUBECTL))
    program(tree / "bin/kustomize", SETTER.format(python=sys.executable))
    return tree


@pytest.fixture(scope="module")
def rolled_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of one rollout."""
    tree = copy_manifests(tmp_path_factory.mktemp("rollout"))
    done = roll_out(tree)
    assert done.returncode == 0, done.stderr
    return tree


def roll_out(tree: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    images = " ".join(f"{name}={image}" for name, image in IMAGES.items())
    return run(
        f"{tree}/ops/ci/rollout.sh", tree,
        **{
            "BIN": str(tree / "bin"), "RECORDS": str(tree / "records"), "COMMIT": COMMIT,
            "IMAGES": images, **changes,
        },
    )  # fmt: skip


def applied(tree: Path) -> list[list[dict[str, object]]]:
    """What was applied, call by call."""
    calls = sorted((tree / "records").iterdir(), key=lambda path: int(path.stem))
    return [[it for it in yaml.safe_load_all(path.read_text()) if it] for path in calls]


def test_a_rollout_goes_from_secrets_to_the_schema_to_the_processes(rolled_out: Path) -> None:
    kinds = [{str(it["kind"]) for it in call} for call in applied(rolled_out)]
    assert kinds[0] == {"Namespace"}
    assert kinds[1] == {"SecretStore", "ServiceAccount", "ExternalSecret"}
    assert "Job" in kinds[2]
    assert not {"Deployment", "StatefulSet"} & kinds[2]
    assert kinds[3] == {"Deployment", "StatefulSet"}
    calls = (rolled_out / "records.log").read_text().splitlines()
    steps = [call.split()[2:4] for call in calls[1:]]
    secrets, job = ["wait", "externalsecret"], ["wait", f"job/migrate-{COMMIT[:12]}"]
    apply = ["apply", "--server-side"]
    fetch = ["annotate", "externalsecret"]
    assert steps[:6] == [apply, fetch, secrets, apply, job, apply]
    assert steps[6:] == [["rollout", "status"]] * 2


def test_only_verified_digests_of_ours_reach_the_cluster(rolled_out: Path) -> None:
    text = "".join(path.read_text() for path in (rolled_out / "records").iterdir())
    assert all(image in text for image in IMAGES.values())
    assert "image: informania/" not in text


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"COMMIT": "main"}, "COMMIT must be a whole commit id"),
        ({"IMAGES": "backend=ghcr.io/desk/app/backend:latest"}, "is not NAME=IMAGE@DIGEST"),
    ],
)
def test_nothing_is_applied_that_is_not_pinned(
    tmp_path: Path, changes: dict[str, str], complaint: str
) -> None:
    tree = copy_manifests(tmp_path)
    done = roll_out(tree, **changes)
    assert done.returncode == 1
    assert complaint in done.stderr
    assert applied(tree) == []
