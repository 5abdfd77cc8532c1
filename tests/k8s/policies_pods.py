"""What every pod must be: without rights, within limits, observed, and from a known image."""

import re
from typing import Any

from k8s.rendered import (
    Objects,
    containers,
    each_container,
    lasting,
    of_kind,
    pod,
    process_of,
    workloads,
)

# Our own images run as 10001; this one as its maker made it.
FOREIGN_USERS = {"postgres": 70}
OUR_USER = 10001
VOLUME_KINDS = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret", "csi"}
MEMORY = re.compile(r"[1-9][0-9]*(Mi|Gi)")

# process: (startup and liveness, readiness)
HEALTH = {
    "proxy": ("/healthz", "/healthz"),
    "api": ("/api/health/live", "/api/health/ready"),
    "api-hot": ("/api/health/live", "/api/health/ready"),
    "streamlit": ("/_stcore/health", "/_stcore/health"),
    "supertokens": ("/hello", "/hello"),
    # A silent bridge is no reason for a restart: liveness asks for the event loop alone.
    "worker": ("/metrics", "/healthz"),
    "paper": ("/healthz", "/healthz"),
    "pgbouncer": ("tcp", "tcp"),
    "postgres": ("pg_isready", "pg_isready"),
}
ASKED_BY_OTHERS = ("proxy", "api", "api-hot", "streamlit", "supertokens", "pgbouncer")
GRACEFUL_S = {"api": 25, "api-hot": 25, "postgres": 60}


def hardened(objects: Objects) -> list[str]:
    """No root, no privilege, no capability, nothing writable but what is mounted."""
    wrong = []
    for workload in workloads(objects):
        process = process_of(workload)
        user = FOREIGN_USERS.get(process, OUR_USER)
        said = pod(workload).get("securityContext", {})
        wanted = {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        wrong += [f"{process}: {k} must be {v}" for k, v in wanted.items() if said.get(k) != v]
        for container in containers(workload):
            wrong += [f"{process}/{container['name']}: {what}" for what in _loose(container)]
    return wrong


def _loose(container: dict[str, Any]) -> list[str]:
    said = container.get("securityContext", {})
    wanted = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    extra = set(said) - set(wanted)
    return [f"{k} must be {v}" for k, v in wanted.items() if said.get(k) != v] + [
        f"{name} is more than the pod says" for name in sorted(extra)
    ]


def limited(objects: Objects) -> list[str]:
    """Every container says what it needs and how much memory it may take."""
    wrong = []
    for name, container, _ in each_container(objects):
        said = container.get("resources", {})
        for side, what in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if what not in said.get(side, {}):
                wrong.append(f"{name}: no {side} of {what}")
            elif what == "memory" and not MEMORY.fullmatch(said[side][what]):
                wrong.append(f"{name}: memory in Mi or Gi")
    return wrong


def probed(objects: Objects) -> list[str]:
    """Each process has three probes, on the paths by which its health is seen elsewhere too."""
    wrong = []
    for workload in lasting(objects):
        process = process_of(workload)
        live, ready = HEALTH[process]
        main = pod(workload)["containers"][0]
        wanted = {"startupProbe": live, "livenessProbe": live, "readinessProbe": ready}
        for probe, path in wanted.items():
            if _asked(main.get(probe, {})) != path:
                wrong.append(f"{process}: {probe} must ask {path}")
            elif (port := _probe_port(main[probe])) not in (None, *_ports(main)):
                wrong.append(f"{process}: {probe} asks a port {port} that is not there")
    return wrong


def _asked(probe: dict[str, Any]) -> str | None:
    if "tcpSocket" in probe:
        return "tcp"
    if "exec" in probe:
        return str(probe["exec"]["command"][0])
    path: str | None = probe.get("httpGet", {}).get("path")
    return path


def _probe_port(probe: dict[str, Any]) -> str | None:
    port: str | None = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
    return port


def _ports(container: dict[str, Any]) -> list[str]:
    return [row["name"] for row in container.get("ports", ())]


def graceful(objects: Objects) -> list[str]:
    """Whoever is asked by others is taken out of their sight first, and may finish its work."""
    wrong = []
    for workload in lasting(objects):
        process, spec = process_of(workload), pod(workload)
        pause = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        if process in ASKED_BY_OTHERS and pause.get("seconds", 0) < 5:
            wrong.append(f"{process}: no pause before it stops")
        needed = pause.get("seconds", 0) + GRACEFUL_S.get(process, 20)
        if spec.get("terminationGracePeriodSeconds", 30) <= needed:
            wrong.append(f"{process}: needs more than {needed} s to stop")
    return wrong


def isolated(objects: Objects) -> list[str]:
    """Nothing of the node is shared, and no volume is of a kind that would."""
    wrong = []
    for workload in workloads(objects):
        process, spec = process_of(workload), pod(workload)
        shared = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")
        wrong += [f"{process}: {name}" for name in shared if spec.get(name)]
        for volume in spec.get("volumes", ()):
            kinds = set(volume) - {"name"}
            wrong += [f"{process}: volume of kind {kind}" for kind in kinds - VOLUME_KINDS]
        for container in containers(workload):
            if any("hostPort" in row for row in container.get("ports", ())):
                wrong.append(f"{process}: hostPort")
    return wrong


def tokenless(objects: Objects) -> list[str]:
    """Each process has an account of its own without a token, and hears of no other Service."""
    accounts = {it["metadata"]["name"]: it for it in of_kind(objects, "ServiceAccount")}
    wrong = [
        f"account {name} has a token"
        for name, account in accounts.items()
        if account.get("automountServiceAccountToken") is not False
    ]
    for workload in workloads(objects):
        process, spec = process_of(workload), pod(workload)
        if spec.get("serviceAccountName") != process or process not in accounts:
            wrong.append(f"{process}: must run as the account {process}")
        if spec.get("automountServiceAccountToken") is not False:
            wrong.append(f"{process}: has a token")
        # Else a Service `x` gives everybody X_PORT, which may be the name of a setting.
        if spec.get("enableServiceLinks") is not False:
            wrong.append(f"{process}: has service links")
    return wrong


def pinned(objects: Objects) -> list[str]:
    """Every image names its version."""
    images = {container["image"] for _, container, _ in each_container(objects)}
    images |= {it["spec"]["imageName"] for it in of_kind(objects, "Cluster")}
    wrong = []
    for image in sorted(images):
        tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
        if not tag or tag == "latest":
            wrong.append(f"{image}: no version")
    return wrong


def spread(objects: Objects) -> list[str]:
    """More than one replica means more than one machine, and a budget for drains."""
    budgets = {
        it["spec"]["selector"]["matchLabels"]["informania.dev/process"]: it["spec"]
        for it in of_kind(objects, "PodDisruptionBudget")
    }
    wrong = []
    for workload in lasting(objects):
        process, replicas = process_of(workload), workload["spec"]["replicas"]
        if replicas < 2:
            continue
        if process not in budgets or budgets[process].get("maxUnavailable") != 1:
            wrong.append(f"{process}: no budget for {replicas} replicas")
        keys = {it["topologyKey"] for it in pod(workload).get("topologySpreadConstraints", ())}
        if keys != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
            wrong.append(f"{process}: not spread over machines and zones")
    return wrong


def hot_store_is_single(objects: Objects) -> list[str]:
    """One process, never two at a time, mounts the hot store."""
    wrong = []
    for workload in workloads(objects):
        process, spec = process_of(workload), pod(workload)
        claims = [it.get("persistentVolumeClaim", {}) for it in spec.get("volumes", ())]
        holds = any(claim.get("claimName") == "hot-store" for claim in claims)
        told = any(
            row["name"] == "LMDB_DIR" for it in spec["containers"] for row in it.get("env", ())
        )
        if (holds or told) and process != "api-hot":
            wrong.append(f"{process}: has the hot store")
        if process == "api-hot":
            said = workload["spec"]
            if not (holds and told):
                wrong.append("api-hot: has no hot store")
            if (said["replicas"], said["strategy"]) != (1, {"type": "Recreate"}):
                wrong.append("api-hot: must be one, and stop before its successor starts")
    return wrong + [
        f"{claim['metadata']['name']}: may be mounted by many"
        for claim in of_kind(objects, "PersistentVolumeClaim")
        # Anchors are whole files that are added and never changed: many may add.
        if claim["metadata"]["name"] != "anchors"
        and not set(claim["spec"]["accessModes"]) <= {"ReadWriteOnce", "ReadWriteOncePod"}
    ]
