"""Who may reach whom, on which port and by which name; Services, policies and settings agree."""

import configparser
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import yaml
from k8s.rendered import (
    PROCESS,
    ROOT,
    Objects,
    containers,
    each_container,
    environment,
    of_kind,
    pod,
    process_of,
    workloads,
)

from native.installation import PORTS

Arrow = tuple[str, str, int]

_POOLER = configparser.ConfigParser(inline_comment_prefixes=(";",))
_POOLER.read(ROOT / "ops/pgbouncer/pgbouncer.ini")

# process: {port's name: number}, as the native installation has them. Postgres has its usual port
# inside containers, where no other one is beside it.
API = {"http": PORTS["api"][0]}
LISTENS: dict[str, dict[str, int]] = {
    "proxy": {"http": PORTS["proxy"][0]},
    "api": API,
    "api-hot": API,
    "streamlit": {"http": PORTS["streamlit"][0]},
    "supertokens": {"http": PORTS["supertokens"][0]},
    "worker": {"metrics": PORTS["worker_metrics"][0]},
    "paper": {"qc": PORTS["paper_qc"][0], "test": PORTS["paper_test"][0]},
    "pgbouncer": {"postgres": _POOLER.getint("pgbouncer", "listen_port")},
    "postgres": {"postgres": 5432},
    "migrate": {},
    "seed": {},
}
# A probe may ask it; no Service and no policy leads there.
PRIVATE_PORTS = {("paper", "test")}

# The architecture: every way between two processes, and the ways in and out.
ARROWS: set[Arrow] = {
    ("namespace ingress", "proxy", 8080),
    ("proxy", "api", 8000),
    ("proxy", "api-hot", 8000),
    ("proxy", "streamlit", 8501),
    ("streamlit", "api", 8000),
    ("streamlit", "pgbouncer", 6432),
    ("api", "pgbouncer", 6432),
    ("api", "supertokens", 3567),
    ("api-hot", "pgbouncer", 6432),
    ("api-hot", "supertokens", 3567),
    ("pgbouncer", "postgres", 5432),
    ("worker", "postgres", 5432),
    ("worker", "world", 443),
    ("supertokens", "postgres", 5432),
    ("migrate", "postgres", 5432),
    ("namespace monitoring", "worker", 9101),
}
TRIAL_ARROWS = ARROWS - {("worker", "world", 443)} | {
    ("worker", "paper", 5612),
    ("paper", "api", 8000),
    ("seed", "postgres", 5432),
    ("seed", "supertokens", 3567),
}
PRODUCTION_ARROWS = ARROWS | {
    ("postgres", "postgres", 5432),
    ("postgres", "postgres", 8000),
    ("namespace cnpg-system", "postgres", 5432),
    ("namespace cnpg-system", "postgres", 8000),
    ("postgres", "anywhere", 443),
    ("postgres", "anywhere", 6443),
}
ADDRESS = re.compile(r"([a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*):([0-9]+)\b")
OUTSIDE = ("namespace ", "world", "anywhere")


def ports_agree(objects: Objects) -> list[str]:
    """Services and containers have the ports of the table that the native run has."""
    wrong = []
    for workload in workloads(objects):
        process = process_of(workload)
        rows = [row for it in containers(workload) for row in it.get("ports", ())]
        if {row["name"]: row["containerPort"] for row in rows} != LISTENS[process]:
            wrong.append(f"{process}: listens on other ports than {LISTENS[process]}")
    for service in of_kind(objects, "Service"):
        process = service["metadata"]["name"]
        public = {
            name: port
            for name, port in LISTENS.get(process, {}).items()
            if (process, name) not in PRIVATE_PORTS
        }
        rows = service["spec"]["ports"]
        if {row["targetPort"]: row["port"] for row in rows} != public:
            wrong.append(f"Service {process}: has other ports than {public}")
    return wrong


def selectors_match(objects: Objects) -> list[str]:
    """Whatever selects pods selects those of the process that it is named for."""
    made = {process_of(it) for it in workloads(objects)}
    made |= {
        it["spec"]["inheritedMetadata"]["labels"][PROCESS] for it in of_kind(objects, "Cluster")
    }
    wrong = []
    for it in of_kind(objects, "Service", "PodDisruptionBudget"):
        selector = it["spec"]["selector"]
        selected = selector.get("matchLabels", selector)
        if selected != {PROCESS: it["metadata"]["name"]} or selected[PROCESS] not in made:
            wrong.append(f"{it['kind']} {it['metadata']['name']}: selects {selected}")
    for it in workloads(objects):
        selector = it["spec"].get("selector")
        if selector and selector["matchLabels"] != {PROCESS: process_of(it)}:
            wrong.append(f"{process_of(it)}: selects {selector}")
        if it["metadata"]["name"].partition("-0.")[0] != process_of(it):
            wrong.append(f"{it['metadata']['name']}: runs {process_of(it)}")
    return wrong


def denied_by_default(objects: Objects) -> list[str]:
    """A pod for which nobody wrote a policy reaches nothing and is reached by nothing."""
    for policy in of_kind(objects, "NetworkPolicy"):
        if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}:
            return []
    return ["no policy denies everything"]


def arrows_are(expected: set[Arrow], objects: Objects) -> list[str]:
    """Each way of the architecture is open at both of its ends, and no other one is at any."""
    leaving, arriving = _open_ways(objects, "egress"), _open_ways(objects, "ingress")
    inner = {arrow for arrow in expected if not arrow[1].startswith(OUTSIDE)}
    outgoing = {arrow for arrow in expected if not arrow[0].startswith(OUTSIDE)}
    wrong = [f"{arrow}: is not let out" for arrow in outgoing - leaving]
    wrong += [f"{arrow}: is not let in" for arrow in inner - arriving]
    wrong += [f"{arrow}: is no arrow of ours" for arrow in (leaving | arriving) - expected]
    return wrong


def _open_ways(objects: Objects, side: str) -> set[Arrow]:
    ways = set()
    for policy in of_kind(objects, "NetworkPolicy"):
        own = policy["spec"]["podSelector"].get("matchLabels", {}).get(PROCESS)
        for rule in policy["spec"].get(side, ()) if own else ():
            for other in _peers(rule, "to" if side == "egress" else "from"):
                for row in rule["ports"]:
                    pair = (own, other) if side == "egress" else (other, own)
                    ways.add((*pair, row["port"]))
    return ways


def _peers(rule: dict[str, Any], word: str) -> Iterator[str]:
    for peer in rule.get(word, [{}]):
        if "ipBlock" in peer:
            assert "10.0.0.0/8" in peer["ipBlock"]["except"], peer
            yield "world"
        elif "namespaceSelector" in peer:
            labels = peer["namespaceSelector"]["matchLabels"]
            yield f"namespace {labels['kubernetes.io/metadata.name']}"
        else:
            yield peer["podSelector"]["matchLabels"][PROCESS] if peer else "anywhere"


def addresses_are_open(objects: Objects) -> list[str]:
    """Wherever a setting sends a process, the Service is there and the policies let it pass."""
    services = _services(objects)
    leaving, arriving = _open_ways(objects, "egress"), _open_ways(objects, "ingress")
    wrong = []
    for process, host, port in _addressed(objects):
        target = host.rpartition(".")[2]
        if "." in host and target not in services:
            if (process, "world", port) not in leaving:
                wrong.append(f"{process}: has no way to {host}:{port}")
        elif services.get(target) != port:
            wrong.append(f"{process}: no Service answers at {host}:{port}")
        elif not {(process, target, port)} <= leaving & arriving:
            wrong.append(f"{process}: no policy lets it to {target}:{port}")
    return wrong


def _services(objects: Objects) -> dict[str, int]:
    found = {
        it["metadata"]["name"]: it["spec"]["ports"][0]["port"] for it in of_kind(objects, "Service")
    }
    for cluster in of_kind(objects, "Cluster"):
        for extra in cluster["spec"]["managed"]["services"]["additional"]:
            found[extra["serviceTemplate"]["metadata"]["name"]] = 5432
    return found


def _addressed(objects: Objects) -> Iterator[tuple[str, str, int]]:
    """Yield where each process is sent by its environment or by its own configuration."""
    for _, container, workload in each_container(objects):
        process, values = process_of(workload), environment(objects, container)
        if "DATABASE_HOST" in values:
            yield process, values["DATABASE_HOST"], int(values["DATABASE_PORT"])
        for name, value in values.items():
            if name in ("PUBLIC_URL", "SITE_ADDRESS"):
                continue
            if value.startswith(("http://", "https://")):
                parts = urlsplit(value)
                yield process, parts.hostname or "", parts.port or 443
            elif name.endswith("_UPSTREAM"):
                yield from ((process, host, int(port)) for host, port in ADDRESS.findall(value))
    database = _POOLER["databases"]["informania"]
    pooled = dict(pair.split("=") for pair in database.split())
    yield "pgbouncer", pooled["host"], int(pooled["port"])
    core = yaml.safe_load((ROOT / "auth/supertokens/core-config/config.yaml").read_text())
    yield "supertokens", core["postgresql_host"], core["postgresql_port"]


def screens_are_named(objects: Objects) -> list[str]:
    """The proxy knows each screen by its own name, so that a session finds its own again."""
    for container, proxy in (
        (container, environment(objects, container))
        for _, container, workload in each_container(objects)
        if process_of(workload) == "proxy"
    ):
        del container
        screen = next(it for it in workloads(objects) if process_of(it) == "streamlit")
        service = screen["spec"]["serviceName"]
        names = [f"streamlit-{n}.{service}:8501" for n in range(screen["spec"]["replicas"])]
        headless = [
            it
            for it in of_kind(objects, "Service")
            if it["metadata"]["name"] == service and it["spec"].get("clusterIP") == "None"
        ]
        if proxy["STREAMLIT_UPSTREAM"].split() != names or not headless:
            return [f"the proxy must know the screens {names} by a headless Service"]
    return []


def host_is_public(objects: Objects) -> list[str]:
    """Everything that must know the public name knows the same one."""
    platform = next(
        it["data"]
        for it in of_kind(objects, "ConfigMap")
        if it["metadata"]["name"].startswith("platform-")
    )
    host = urlsplit(platform["PUBLIC_URL"]).hostname
    found = {"PUBLIC_HOST": platform["PUBLIC_HOST"]}
    for ingress in of_kind(objects, "Ingress"):
        found["Ingress"] = ingress["spec"]["rules"][0]["host"]
        found["TLS"] = ingress["spec"]["tls"][0]["hosts"][0]
    screen = next(it for it in workloads(objects) if process_of(it) == "streamlit")
    for name, probe in pod(screen)["containers"][0].items():
        if name.endswith("Probe"):
            found[name] = probe["httpGet"]["httpHeaders"][0]["value"]
    return [f"{name} is {value}, not {host}" for name, value in found.items() if value != host]
