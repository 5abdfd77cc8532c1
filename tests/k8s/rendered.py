"""What Kustomize makes of ops/k8s, once per run, and ways to look at it."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
Objects = list[Object]
Check = Callable[[Objects], list[str]]

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = Path(sys.executable).with_name("kubectl")
FOLDERS = {
    "base": "ops/k8s",
    "trial": "ops/k8s-overlays/trial",
    "production": "ops/k8s-overlays/production",
}
PROCESS = "informania.dev/process"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def kustomize(folder: Path) -> str:
    """Return what `kubectl kustomize` prints for a folder."""
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    done = subprocess.run(
        [str(KUBECTL), "kustomize", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environ,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def _frozen(name: str) -> bytes:
    return pickle.dumps(parse(kustomize(ROOT / FOLDERS[name])))


def render(name: str) -> Objects:
    """Return the objects of a folder, fresh ones each time."""
    objects: Objects = pickle.loads(_frozen(name))  # noqa: S301 - what we froze ourselves
    return objects


def parse(text: str) -> Objects:
    """Return the objects of a stream of YAML."""
    return [document for document in yaml.load_all(text, Loader=Loader) if document]


def of_kind(objects: Objects, *kinds: str) -> Objects:
    """Return the objects of some kinds."""
    return [it for it in objects if it["kind"] in kinds]


def named(objects: Objects, kind: str, name: str) -> Object:
    """Return one object; the name of a config map goes on with the hash of what it holds."""
    hashed = kind == "ConfigMap"
    found = [
        it
        for it in of_kind(objects, kind)
        if (it["metadata"]["name"].rpartition("-")[0] if hashed else it["metadata"]["name"]) == name
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def workloads(objects: Objects) -> Objects:
    """Return what makes pods."""
    return of_kind(objects, "Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob")


def lasting(objects: Objects) -> Objects:
    """Return what makes pods that are meant to stay."""
    return of_kind(objects, "Deployment", "StatefulSet")


def pod(workload: Object) -> Object:
    """Return the pod's spec in a workload."""
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def process_of(workload: Object) -> str:
    """Return which of our processes a workload runs."""
    name: str = workload["spec"]["template"]["metadata"]["labels"][PROCESS]
    return name


def containers(workload: Object) -> list[Object]:
    """Return all containers of a workload, those that run first included."""
    spec = pod(workload)
    return [*spec.get("initContainers", ()), *spec["containers"]]


def each_container(objects: Objects) -> Iterator[tuple[str, Object, Object]]:
    """Yield every container with a name for messages and its workload."""
    for workload in workloads(objects):
        for container in containers(workload):
            yield f"{process_of(workload)}/{container['name']}", container, workload


def environment(objects: Objects, container: Object) -> dict[str, str]:
    """Return a container's variables with what the config map `platform` says."""
    platform = named(objects, "ConfigMap", "platform")["data"]
    values: dict[str, str] = {}
    for row in container.get("env", ()):
        source = row.get("valueFrom", {}).get("configMapKeyRef")
        value = platform.get(source["key"], "") if source else row.get("value", "")
        for name, known in values.items():
            value = value.replace(f"$({name})", known)
        values[row["name"]] = value
    return values
