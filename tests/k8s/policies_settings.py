"""What each process is told and given: settings it knows, secrets it needs, and no others."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from k8s.rendered import (
    ROOT,
    Object,
    Objects,
    each_container,
    named,
    of_kind,
    pod,
    process_of,
    workloads,
)

from app.core.settings import Settings
from app.services.database_setup import SetupSettings
from app.services.seed import SeedSettings
from paper.settings import Settings as PaperSettings

# Of Python, of uvicorn, and of the libraries beneath.
EVERYWHERE = {"HOME", "SECRETS_DIR"}
POSTGRES_IMAGE = {"PGDATA", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"}
CADDY_HOMES = {"XDG_DATA_HOME", "XDG_CONFIG_HOME", "PUBLIC_HOST"}
HOT_SECRETS = {"app_write_password", "core_api_key"}


def _upper(model: Any) -> set[str]:
    return {name.upper() for name in model.model_fields}


def _quoted_names(path: str) -> set[str]:
    return set(re.findall(r'"([A-Z][A-Z0-9_]+)"', (ROOT / path).read_text()))


def _placeholders(path: str) -> set[str]:
    return set(re.findall(r"\{(?:\$|env\.)([A-Z][A-Z0-9_]+)", (ROOT / path).read_text()))


def known_names() -> dict[str, set[str]]:
    """Return the variables that each container reads, from the sources of what runs in it."""
    backend = _upper(Settings)
    api = backend | {"FORWARDED_ALLOW_IPS"}
    return {
        "api": api,
        "api-hot": api,
        "await-schema": backend,
        "worker": backend,
        "bootstrap": _upper(SetupSettings),
        "migrate": _upper(SetupSettings),
        "seed": _upper(SeedSettings),
        "paper": _upper(PaperSettings),
        "streamlit": _quoted_names("ui/streamlit/services/settings.py"),
        "proxy": _placeholders("ops/reverse-proxy/caddy/Caddyfile") | CADDY_HOMES,
        "supertokens": set(),
        "pgbouncer": set(),
        "postgres": POSTGRES_IMAGE,
    }


def settings_known(objects: Objects) -> list[str]:
    """Every variable is one that its process reads; every key of the map is somebody's."""
    known, used, wrong = known_names(), set(), []
    platform = named(objects, "ConfigMap", "platform")
    for name, container, _ in each_container(objects):
        if "envFrom" in container:
            wrong.append(f"{name}: takes a whole map")
        for row in container.get("env", ()):
            if row["name"] not in known[container["name"]] | EVERYWHERE:
                wrong.append(f"{name}: does not know {row['name']}")
            source = row.get("valueFrom", {}).get("configMapKeyRef")
            if source:
                used.add(source["key"])
                if source["name"] != platform["metadata"]["name"]:
                    wrong.append(f"{name}: {row['name']} comes from {source['name']}")
    keys = set(platform["data"])
    wrong += [f"platform: nobody reads {key}" for key in sorted(keys - used)]
    return wrong + [f"platform: has no {key}" for key in sorted(used - keys)]


def maps_exist(objects: Objects) -> list[str]:
    """Every file that a pod mounts from a config map or a claim is there."""
    maps = {it["metadata"]["name"] for it in of_kind(objects, "ConfigMap")}
    claims = {it["metadata"]["name"] for it in of_kind(objects, "PersistentVolumeClaim")}
    wrong = []
    for workload in workloads(objects):
        spec, own = pod(workload), workload["spec"].get("volumeClaimTemplates", ())
        names = {it["name"] for it in spec.get("volumes", ())}
        names |= {it["metadata"]["name"] for it in own}
        for name, container, _ in each_container([workload]):
            mounted = {it["name"] for it in container.get("volumeMounts", ())}
            wrong += [f"{name}: mounts {it}, which is no volume" for it in mounted - names]
        for map_name, claim in _sources(spec):
            if map_name and map_name not in maps:
                wrong.append(f"{process_of(workload)}: no config map {map_name}")
            if claim and claim not in claims:
                wrong.append(f"{process_of(workload)}: no claim {claim}")
    return wrong


def _sources(spec: dict[str, Any]) -> Iterator[tuple[str | None, str | None]]:
    for volume in spec.get("volumes", ()):
        rows = volume.get("projected", {}).get("sources", [volume])
        for row in rows:
            yield row.get("configMap", {}).get("name"), None
        yield None, volume.get("persistentVolumeClaim", {}).get("claimName")


def anchors_stay(objects: Objects) -> list[str]:
    """The worker anchors the audit chains, into a volume that outlives every pod of it."""
    worker = named(objects, "Deployment", "worker")
    spec, claims = pod(worker), of_kind(objects, "PersistentVolumeClaim")
    main = next(it for it in spec["containers"] if it["name"] == "worker")
    told = {row["name"]: row.get("value", "") for row in main["env"]}
    kind, _, folder = told.get("ANCHOR_SINK", "").partition(":")
    if kind == "git":
        return []
    mounts = {it["mountPath"]: it for it in main["volumeMounts"]}
    volumes = {it["name"]: it for it in spec["volumes"]}
    mount = mounts.get(folder)
    if mount is None or mount.get("readOnly"):
        return [f"worker: ANCHOR_SINK={told.get('ANCHOR_SINK')} is no mounted folder"]
    claim = volumes[mount["name"]].get("persistentVolumeClaim", {}).get("claimName")
    modes = [it["spec"]["accessModes"] for it in claims if it["metadata"]["name"] == claim]
    if not modes:
        return ["worker: its anchors go with the pod"]
    if worker["spec"]["replicas"] > 1 and modes != [["ReadWriteMany"]]:
        return ["worker: only one of them can write its anchors"]
    return []


def compose_secrets() -> dict[str, set[str]]:
    """Return what each process is given where containers run without a cluster."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return {name: set(it.get("secrets", ())) for name, it in services.items()}


def secrets_asked(objects: Objects) -> set[str]:
    """Return the names of the Secrets that pods and operators ask for."""
    asked = {
        volume["secret"]["secretName"]
        for workload in workloads(objects)
        for volume in pod(workload).get("volumes", ())
        if "secret" in volume
    }
    for cluster in of_kind(objects, "Cluster"):
        asked.add(cluster["spec"]["superuserSecret"]["name"])
    return asked


def external_keys(objects: Objects) -> dict[str, set[str]]:
    """Return the keys of each Secret that External Secrets makes."""
    return {it["spec"]["target"]["name"]: _keys(it) for it in of_kind(objects, "ExternalSecret")}


def _keys(external: Object) -> set[str]:
    template = external["spec"]["target"].get("template")
    if template:
        return set(template["data"])
    return {row["secretKey"] for row in external["spec"]["data"]}


def secrets_are_provided(provided: dict[str, set[str]], objects: Objects) -> list[str]:
    """Each Secret that is asked for comes with just the files that its process reads."""
    wanted = {**compose_secrets(), "api-hot": HOT_SECRETS}
    wanted["postgres-superuser"] = {"username", "password"}
    asked = secrets_asked(objects)
    made = set(provided)
    return [
        *(f"nobody makes the Secret {name}" for name in sorted(asked - made)),
        *(f"nobody asks for the Secret {name}" for name in sorted(made - asked)),
        *(
            f"Secret {name}: has {sorted(provided[name] ^ wanted[name])} wrong"
            for name in sorted(asked & made)
            if provided[name] != wanted[name]
        ),
    ]


def secrets_are_own(objects: Objects) -> list[str]:
    """A process mounts the Secret of its own name, read-only, and takes none by environment."""
    wrong = []
    for name, container, workload in each_container(objects):
        volumes = {it["name"]: it for it in pod(workload).get("volumes", ())}
        own = {container["name"], process_of(workload)}
        for mount in container.get("volumeMounts", ()):
            secret = volumes.get(mount["name"], {}).get("secret")
            if secret is None:
                continue
            if secret["secretName"] not in own or not mount.get("readOnly"):
                wrong.append(f"{name}: mounts {secret['secretName']}")
            if mount["mountPath"] != "/run/secrets" or secret.get("defaultMode") != 0o440:
                wrong.append(f"{name}: secrets are elsewhere or for everyone")
        if any("secretKeyRef" in row.get("valueFrom", {}) for row in container.get("env", ())):
            wrong.append(f"{name}: a secret in the environment")
    return wrong


def no_secret_committed(objects: Objects) -> list[str]:
    """Names of secrets are here, values never."""
    return [f"Secret {it['metadata']['name']}" for it in of_kind(objects, "Secret")]


def production_is_real(objects: Objects) -> list[str]:
    """No venue of paper, no development core, no demo, and no shortcut of development."""
    platform = named(objects, "ConfigMap", "platform")["data"]
    wrong = [] if platform["APP_ENV"] == "production" else ["APP_ENV is not production"]
    wrong += [f"{key}: no TLS" for key in ("PUBLIC_URL", "QC_URL") if "http://" in platform[key]]
    for it in objects:
        text = yaml.safe_dump({**it, "data": None})
        for word in ("paper", "devcore", "informania/demo", "seed", "REPLAY_SESSION_SECONDS"):
            if re.search(rf"\b{word}\b", text):
                wrong.append(f"{it['kind']} {it['metadata']['name']}: {word}")
    return wrong
