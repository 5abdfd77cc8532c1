"""The vault, the settings and Streamlit's options: what is held, and what refuses to start."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import streamlit
from gate.identity import Identity
from gate.options import REQUIRED, apply_options
from gate.vault import Pass, Vault
from services.settings import Settings, SettingsError, load_settings
from streamlit import config

UI = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 11, 23, tzinfo=UTC)
ALICE = Identity("user-a", "trader", "handle-a")
ENVIRON = {
    "APP_ENV": "test",
    "PROXY_SECRET": "p",
    "STREAMLIT_COOKIE": "c",
    "WORKER_TOKEN": "w",
    "APP_READ_PASSWORD": "r",
}


def held(token: str, minutes: int, identity: Identity = ALICE) -> Pass:
    return Pass(identity, "a@test.informania.dev", NOW + timedelta(minutes=minutes), token)


def test_a_pass_is_over_when_its_token_ends() -> None:
    moment = [NOW]
    vault = Vault(lambda: moment[0])
    vault.put(held("first", 5))
    assert vault.get("handle-a") == held("first", 5)
    moment[0] += timedelta(minutes=5)
    assert vault.get("handle-a") is None


def test_the_token_that_lasts_longer_stays() -> None:
    vault = Vault(lambda: NOW)
    vault.put(held("long", 50))
    vault.put(held("short", 5))
    assert vault.get("handle-a") == held("long", 50)
    other_role = Identity("user-a", "viewer", "handle-a")
    vault.put(held("as viewer", 5, other_role))
    assert vault.get("handle-a") == held("as viewer", 5, other_role)


def test_a_forgotten_pass_is_gone() -> None:
    vault = Vault(lambda: NOW)
    vault.put(held("first", 5))
    vault.forget("handle-a")
    vault.forget("handle-a")
    assert vault.get("handle-a") is None
    assert len(vault) == 0


def test_neither_a_pass_nor_the_settings_print_what_is_secret() -> None:
    assert "first" not in repr(held("first", 5))
    assert "r" in load_settings(ENVIRON).secrets.values()
    assert "secrets" not in repr(load_settings(ENVIRON))


@pytest.mark.parametrize(
    "changes",
    [
        {"APP_ENV": "staging"},
        {"PUBLIC_URL": "localhost:8080"},
        {"PUBLIC_URL": "http://localhost:8080/app"},
        {"API_URL": "ftp://127.0.0.1"},
        {"DATABASE_PORT": "0"},
        {"SECRETS_DIR": "/nowhere/at/all"},
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        load_settings({**ENVIRON, **changes})


@pytest.mark.parametrize("value", ["", "changeme"])
def test_a_secret_that_is_none_is_named(value: str) -> None:
    with pytest.raises(SettingsError, match="proxy_secret"):
        load_settings({**ENVIRON, "PROXY_SECRET": value}).secret("proxy_secret")


def test_secrets_are_read_from_their_files_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / "proxy_secret").write_text("from the file\n")
    (tmp_path / "worker_token").write_text("from the file\n")
    settings = load_settings(
        {"APP_ENV": "test", "SECRETS_DIR": str(tmp_path), "WORKER_TOKEN": "from outside"}
    )
    assert settings.secret("proxy_secret") == "from the file"
    assert settings.secret("worker_token") == "from outside"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    # As Streamlit finds the options when it is started: beside the script.
    monkeypatch.setattr(config, "_main_script_path", str(UI / "app.py"))
    config.get_config_options(force_reparse=True)
    return load_settings(ENVIRON)


def test_the_shipped_options_open_no_door(settings: Settings) -> None:
    apply_options(settings)
    assert config.get_option("server.cookieSecret") == "c"
    assert config.get_option("server.allowedHosts") == ["localhost"]


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_an_option_that_opens_a_door_refuses_the_start(settings: Settings, name: str) -> None:
    config.set_option(name, "something else")
    try:
        with pytest.raises(SettingsError, match=re.escape(name)):
            apply_options(settings)
    finally:
        config.get_config_options(force_reparse=True)


def test_streamlit_reads_the_file_people_edit() -> None:
    link = UI / ".streamlit/config.toml"
    assert link.is_symlink()
    assert link.resolve() == UI / "config.toml"


def test_the_proxy_allows_the_one_script_inside_the_page_and_no_other() -> None:
    page = (Path(streamlit.__file__).parent / "static/index.html").read_text()
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    expected = {f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests}
    caddyfile = (UI.parents[1] / "ops/reverse-proxy/caddy/Caddyfile").read_text()
    assert set(re.findall(r"'sha256-[^']*'", caddyfile)) == expected
