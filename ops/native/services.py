"""The one table of the processes: what each is, what it needs and how its health is seen."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from native import health, postgres, secret_files
from native.installation import Installation
from native.processes import MARK
from native.spec import Service

LOOPBACK = "127.0.0.1"
DATABASE_NAME = "informania"
SOCKET_MESSAGE_BYTES_MAX = 1024 * 1024


def platform(it: Installation, *, admin_socket: Path, reload: bool = False) -> list[Service]:
    """Return the services of an installation; `needs` alone decides their order."""
    env = {**_shared_env(it), "CADDY_ADMIN": f"unix/{admin_socket}"}
    make = partial(_service, it, env)
    ours = partial(_service, it, {**env, "PYTHONPATH": str(it.root / "ops")})
    services = [
        *_database(it, ours),
        *_surroundings(it, make),
        *_core(it, make, reload=reload),
        *_doors(it, env, make, reload=reload),
    ]
    # A core that somebody else runs is neither started nor stopped here.
    return _without(services, "supertokens") if it.setting("SUPERTOKENS_URI", "") else services


def _without(services: Sequence[Service], name: str) -> list[Service]:
    left = (service for service in services if service.name != name)
    return [replace(it, needs=tuple(need for need in it.needs if need != name)) for it in left]


def _database(it: Installation, make: Any) -> list[Service]:
    port = it.ports["postgres"]
    setup = ("-m", "app.services.database_setup")
    return [
        make("initdb", ("-m", "native", "initdb"), oneshot=True, ready_timeout_s=180),
        make(
            "postgres",
            ("-m", "native", "postgres"),
            needs=("initdb",),
            probe=partial(health.postgres_accepts, port),
            ports={"postgres": port},
            stop_signal=postgres.STOP_SIGNAL,
            stop_timeout_s=60,
            # After a crash it first replays its log.
            ready_timeout_s=300,
        ),
        make("bootstrap", (*setup, "bootstrap"), needs=("postgres",), oneshot=True),
        make("migrate", (*setup, "migrate"), needs=("bootstrap",), oneshot=True),
    ]


def _surroundings(it: Installation, make: Any) -> list[Service]:
    core, qc, test = (it.ports[name] for name in ("supertokens", "paper_qc", "paper_test"))
    return [
        make(
            "zig-lmdb",
            [it.root / "scripts/build_zig_lmdb.sh"],
            oneshot=True,
            ready_timeout_s=1800,
            note="the first build takes some minutes",
        ),
        make(
            "supertokens",
            ("-m", "devcore"),
            needs=("bootstrap",),
            probe=_http(core, "/hello"),
            ports={"supertokens": core},
        ),
        make(
            "paper",
            ("-m", "paper"),
            probe=_http(test, "/healthz"),
            ports={"paper QC face": qc, "paper test face": test},
        ),
        make("seed", ("-m", "app.services.seed"), needs=("migrate", "supertokens"), oneshot=True),
    ]


def _core(it: Installation, make: Any, *, reload: bool) -> list[Service]:
    api, metrics = it.ports["api"], it.ports["worker_metrics"]
    return [
        make(
            "api",
            _uvicorn(it, api, reload=reload),
            needs=("migrate", "supertokens", "seed", "zig-lmdb"),
            probe=_http(api, "/api/health/ready"),
            ports={"api": api},
        ),
        make(
            "worker",
            ("-m", "worker"),
            # Its lanes open once the bridges were heard, which report through the API.
            needs=("seed", "paper", "api"),
            probe=_http(metrics, "/healthz"),
            ports={"worker metrics": metrics},
        ),
    ]


def _doors(it: Installation, env: Mapping[str, str], make: Any, *, reload: bool) -> list[Service]:
    screen, proxy = (it.ports[name] for name in ("streamlit", "proxy"))
    secret = {"PROXY_SECRET": secret_files.read(it.secrets / "proxy_secret")}
    return [
        make(
            "streamlit",
            _streamlit(it, screen, reload=reload),
            cwd=it.root / "ui/streamlit",
            needs=("api",),
            probe=_http(screen, "/_stcore/health"),
            ports={"streamlit": screen},
        ),
        _service(
            it,
            {**env, **secret},
            "proxy",
            _caddy(it),
            needs=("api",),
            probe=_http(proxy, "/healthz", it.host),
            ports={"proxy": proxy},
            address=it.url,
        ),
    ]


def _uvicorn(it: Installation, port: int, *, reload: bool) -> list[str]:
    watching = ["--reload", f"--reload-dir={it.root / 'backend/src'}"] if reload else []
    return [
        *("-m", "uvicorn", "app.main:create_app", "--factory"),
        *("--host", LOOPBACK, "--port", str(port), "--no-server-header", "--no-access-log"),
        *watching,
    ]


def _streamlit(it: Installation, port: int, *, reload: bool) -> list[str]:
    folder = it.root / "ui/streamlit"
    watching = ["--reload", f"--reload-dir={folder}"] if reload else []
    return [
        *("-m", "uvicorn", "asgi:app", f"--app-dir={folder}"),
        *("--host", LOOPBACK, "--port", str(port), "--no-server-header", "--no-access-log"),
        # Compressing what changes twice a second costs more than it saves.
        *("--ws-per-message-deflate", "false", "--ws-max-size", str(SOCKET_MESSAGE_BYTES_MAX)),
        # Open pages never end by themselves.
        *("--timeout-graceful-shutdown", "3"),
        *watching,
    ]


def _caddy(it: Installation) -> list[Path | str]:
    config = it.root / "ops/reverse-proxy/caddy/Caddyfile"
    program = Path(sys.executable).with_name("caddyserver")
    return [program, "run", "--config", str(config), "--adapter", "caddyfile"]


def _http(port: int, path: str, host: str = "") -> Any:
    return partial(health.http_ok, port, path, host or f"{LOOPBACK}:{port}")


def _service(
    it: Installation,
    env: Mapping[str, str],
    name: str,
    command: Sequence[Path | str],
    **rest: Any,
) -> Service:
    # A command that begins with an option is one of our Python's.
    python = [sys.executable] if str(command[0]).startswith("-") else []
    ports: Mapping[str, int] = rest.get("ports", {})
    address = ", ".join(f"{LOOPBACK}:{port}" for port in ports.values())
    argv = tuple(str(word) for word in (*python, *command))
    remedy = f"its log is {it.logs / name}.log"
    facts = {"cwd": it.root, "address": address, "remedy": remedy, **rest}
    return Service(name=name, argv=argv, env=env, **facts)


def _shared_env(it: Installation) -> dict[str, str]:
    defaults = {
        "APP_ENV": "dev",
        "LOG_LEVEL": "info",
        "REPLAY_SESSION_SECONDS": "600",
        "MARKET_HOURS": "always",
        "BIND_ADDRESS": LOOPBACK,
        "SITE_ADDRESS": f"http://{it.host}",
        "DEMO_CONFIG": str(it.root / "db/postgres/demo/demo.toml"),
        "BRIDGE_FILE": str(it.root / "ops/quantconnect/main.py"),
        "ANCHOR_SINK": f"folder:{it.run_dir / 'anchors'}",
    }
    return {**defaults, **it.environ, **_topology(it), **_state_paths(it)}


def _topology(it: Installation) -> dict[str, str]:
    port = {name: str(number) for name, number in it.ports.items()}
    api = f"{LOOPBACK}:{port['api']}"
    core = it.setting("SUPERTOKENS_URI", f"http://{LOOPBACK}:{port['supertokens']}")
    return {
        "PUBLIC_URL": it.url,
        "HTTP_PORT": port["proxy"],
        "API_UPSTREAM": api,
        "HOT_UPSTREAM": api,
        "API_URL": f"http://{api}",
        "STREAMLIT_UPSTREAM": f"{LOOPBACK}:{port['streamlit']}",
        "DATABASE_HOST": LOOPBACK,
        "DATABASE_PORT": port["postgres"],
        "DATABASE_NAME": DATABASE_NAME,
        "SUPERTOKENS_URI": core,
        "DEVCORE_HOST": LOOPBACK,
        "DEVCORE_PORT": port["supertokens"],
        "QC_URL": f"http://{LOOPBACK}:{port['paper_qc']}/api/v2/",
        "QC_USER_ID": "1",
        "PAPER_QC_PORT": port["paper_qc"],
        "PAPER_TEST_PORT": port["paper_test"],
        "WEBHOOK_URL": f"http://{api}/api/webhooks/quantconnect",
        "WORKER_METRICS_PORT": port["worker_metrics"],
    }


def _state_paths(it: Installation) -> dict[str, str]:
    home = it.environ.get("HOME", "")
    return {
        MARK: str(it.run_dir),
        "RUN_DIR": str(it.run_dir),
        "SECRETS_DIR": str(it.secrets),
        "LMDB_DIR": str(it.run_dir / "lmdb"),
        "LMDB_LIBRARY": str(it.root / "backend/zig-lmdb/target/libzig_lmdb.so"),
        "PAPER_STATE_DIR": str(it.run_dir / "paper"),
        "DEMO_FILE": str(it.run_dir / "demo.json"),
        # Drivers and the screen look there for settings, and fail where they may not look.
        "HOME": home if os.access(home, os.R_OK | os.X_OK) else str(it.run_dir),
        "XDG_DATA_HOME": str(it.run_dir / "caddy"),
        "XDG_CONFIG_HOME": str(it.run_dir / "caddy"),
        "PYTHONUNBUFFERED": "1",
        # Compiled once for every installation of this checkout: the API starts in half the time.
        "PYTHONPYCACHEPREFIX": str(it.root / ".run" / "pycache"),
        # Of the caller's Python settings only this one reaches the services, and by this name.
        **({"PYTHONPATH": extra} if (extra := it.environ.get("SERVICES_PYTHONPATH")) else {}),
    }
