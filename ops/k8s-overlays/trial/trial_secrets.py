"""Prints the Secrets of a trial, made of a folder of secret files that it completes.

    PYTHONPATH=ops .venv/bin/python ops/k8s-overlays/trial/trial_secrets.py FOLDER |
      kubectl apply --filename -

Each process gets what secrets-store/external-secrets.yaml gives it in production, the paper venue
and the demo's seed get theirs. A second run prints the same Secrets.
"""

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from native import pgbouncer_userlist, secret_files

NAMESPACE = "informania"
OPS = Path(__file__).resolve().parents[2]
STORE = OPS / "k8s/secrets-store/external-secrets.yaml"
TRIAL_ONLY = {
    "postgres": ("postgres_password",),
    "paper": ("qc_token", "webhook_hmac"),
    "seed": (
        "app_migrate_password",
        "core_api_key",
        "demo_admin_password",
        "demo_trader_password",
        "demo_viewer_password",
    ),
}


def needs() -> dict[str, tuple[str, ...]]:
    """Return the names of the secrets that each process is given."""
    documents = yaml.safe_load_all(STORE.read_text())
    production = {
        document["metadata"]["name"]: tuple(row["secretKey"] for row in document["spec"]["data"])
        for document in documents
    }
    production.pop("postgres-superuser")
    return {**production, **TRIAL_ONLY}


def manifests(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield one Secret per process."""
    secret_files.ensure(folder)
    for name in TRIAL_ONLY["seed"]:
        # A letter and a digit are what the password rules ask for.
        secret_files.ensure_file(folder / name, f"{secrets.token_urlsafe(18)}a1")
    for process, names in needs().items():
        values = {name: secret_files.read(folder / name) for name in names}
        if process == "pgbouncer":
            passwords = {role: values[f"{role}_password"] for role in ("app_write", "app_read")}
            values = {pgbouncer_userlist.FILE_NAME: pgbouncer_userlist.userlist(passwords)}
        metadata = {"name": process, "namespace": NAMESPACE}
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def main(arguments: list[str]) -> int:
    """Print the Secrets; return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: trial_secrets.py FOLDER\n")
        return 2
    sys.stdout.write(yaml.safe_dump_all(manifests(Path(arguments[0])), sort_keys=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
