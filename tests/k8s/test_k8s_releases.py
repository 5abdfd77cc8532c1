"""What a release changes, and what the manifests share with the other ways to run the platform."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from k8s.policies_settings import external_keys
from k8s.rendered import (
    FOLDERS,
    ROOT,
    Object,
    each_container,
    kustomize,
    named,
    of_kind,
    parse,
    pod,
    process_of,
    render,
    workloads,
)

VERSION = "app.kubernetes.io/version"
DEFAULT = re.compile(r"\$\{[A-Z_]+:-([^{}$]+)(?:\$\{IMAGE_TAG:-[a-z]+\})?\}")
SETTING = re.compile(r"^([a-z_]+) = '?([^'\n]*)'?$", re.MULTILINE)
# A server that runs nothing else may have more of these.
LARGER = {"shared_buffers", "effective_cache_size"}
OUR_IMAGES = ("backend", "caddy", "streamlit", "supertokens")
DIGEST = "sha256:" + "24" * 32


def folder_around(tmp_path: Path, **kustomization: Any) -> Path:
    """Make a folder that builds on ours; Kustomize wants relative paths."""
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump({**head, **kustomization}))
    return tmp_path


def relative(path: str, start: Path) -> str:
    """Return how a folder of the repository is called from another one."""
    return os.path.relpath(ROOT / path, start)


@pytest.mark.parametrize("folder", FOLDERS)
def test_jobs_are_named_for_their_release(folder: str) -> None:
    """A Job cannot be changed, so each release brings its own."""
    objects = render(folder)
    version = named(objects, "Deployment", "api")["metadata"]["labels"][VERSION]
    names = [it["metadata"]["name"] for it in of_kind(objects, "Job")]
    assert names == [f"{process_of(it)}-{version}" for it in of_kind(objects, "Job")]


def test_a_release_is_a_version_and_digests(tmp_path: Path) -> None:
    """What the deploy workflow edits reaches every pod and the name of the migrate job."""
    copy = tmp_path / "repository"
    for name in ("ops/k8s", "ops/k8s-overlays", "ops/pgbouncer", "db/postgres/config"):
        shutil.copytree(ROOT / name, copy / name)
    path = copy / "ops/k8s/kustomization.yaml"
    text = path.read_text()
    release = re.sub(rf"({VERSION}:).*", r'\1 "0123456789ab"', text)
    release = re.sub(
        r"(- name: informania/(\w+)\n)    newTag.*",
        rf"\1    newName: registry.example.com/\2\n    digest: {DIGEST}",
        release,
    )
    path.write_text(release)
    objects = parse(kustomize(copy / "ops/k8s-overlays/production"))
    assert named(objects, "Job", "migrate-0123456789ab")
    images = {container["image"] for _, container, _ in each_container(objects)}
    ours = {f"registry.example.com/{name}@{DIGEST}" for name in OUR_IMAGES}
    assert {image for image in images if "pgbouncer" not in image} == ours


def test_no_manifest_names_a_version() -> None:
    """Versions are in the lists of images, where a release finds all of them."""
    lines = [
        line
        for folder in ("ops/k8s", "ops/k8s-overlays")
        for path in (ROOT / folder).rglob("*.yaml")
        for line in path.read_text().splitlines()
        if re.match(r"\s*(- )?image(Name)?: ", line)
    ]
    assert lines
    assert [line for line in lines if ":" in line.partition(": ")[2]] == []


def test_images_are_those_of_compose() -> None:
    """The same names for ours, the same versions for those of others."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    there = {name: DEFAULT.match(it["image"]) for name, it in compose.items()}
    images = {name: match[1].rstrip(":") for name, match in there.items() if match}
    for workload in workloads(render("trial")):
        process = process_of(workload)
        image = pod(workload)["containers"][0]["image"]
        # Compose seeds with the migrations' image or the demo's; here it is the demo's.
        wanted = images["api" if process == "api-hot" else process]
        assert image == wanted or image.rpartition(":")[0] == wanted, process


def test_replicated_postgres_has_the_settings_of_the_single_one() -> None:
    """Save what the operator sets itself and what a server of its own may have more of."""
    ours = dict(SETTING.findall((ROOT / "db/postgres/config/postgresql.conf").read_text()))
    cluster = named(render("production"), "Cluster", "postgres")["spec"]
    theirs = cluster["postgresql"]["parameters"]
    assert {k: v for k, v in theirs.items() if k not in LARGER and ours.get(k) != v} == {}
    args = cluster["bootstrap"]["initdb"]
    single = named(render("base"), "StatefulSet", "postgres")
    env = {row["name"]: row["value"] for row in pod(single)["containers"][0]["env"]}
    for said in (args["builtinLocale"], args["localeProvider"], "--data-checksums"):
        assert said in env["POSTGRES_INITDB_ARGS"]


def test_connections_fit_the_limits_of_the_roles() -> None:
    """Nobody is locked out because others of his role came first, also while pods are replaced."""
    roles = (ROOT / "db/postgres/security/roles.sql").read_text()
    limits = {name: int(n) for name, n in re.findall(r"(\w+) LOGIN CONNECTION LIMIT (\d+)", roles)}
    pooler = (ROOT / "ops/pgbouncer/pgbouncer.ini").read_text()
    pools = re.findall(r"^(\w+) = max_user_connections=(\d+)", pooler, re.MULTILINE)
    core = yaml.safe_load((ROOT / "auth/supertokens/core-config/config.yaml").read_text())
    per_pod = [("pgbouncer", role, int(size)) for role, size in pools]
    per_pod.append(("supertokens", "core", core["postgresql_connection_pool_size"]))
    # Its pool of two, the poke's one, and the session that holds the shards.
    per_pod.append(("worker", "app_worker", 4))
    for process, role, size in per_pod:
        said = named(render("production"), "Deployment", process)["spec"]
        assert said["strategy"]["rollingUpdate"]["maxSurge"] == 0, process
        assert said["replicas"] * size <= limits[role], process


def test_a_store_that_is_mounted_gives_each_process_the_same_files(tmp_path: Path) -> None:
    """The component of the CSI driver leaves no pod with a Secret of the cluster."""
    folder = folder_around(
        tmp_path,
        namespace="informania",
        resources=[relative("ops/k8s", tmp_path)],
        components=[relative("ops/k8s/secrets-store/csi", tmp_path)],
    )
    objects = parse(kustomize(folder))
    files = {
        it["metadata"]["name"]: {
            row["objectName"] for row in yaml.safe_load(it["spec"]["parameters"]["objects"])
        }
        for it in of_kind(objects, "SecretProviderClass")
    }
    wanted = external_keys(render("production"))
    wanted.pop("postgres-superuser")
    assert files == wanted
    assert mounted_classes(objects) == set(files)


def mounted_classes(objects: list[Object]) -> set[str]:
    """Return the classes that pods mount; Postgres itself is the trial's and keeps its Secret."""
    classes = set()
    for workload in workloads(objects):
        for volume in pod(workload)["volumes"]:
            assert "secret" not in volume or process_of(workload) == "postgres", volume
            if "csi" in volume:
                classes.add(volume["csi"]["volumeAttributes"]["secretProviderClass"])
    return classes
