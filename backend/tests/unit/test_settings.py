"""Settings are read once, from the environment and the secrets folder, and fail closed."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.settings import MissingSecret, get_settings, is_loopback, load_settings
from app.services.database_setup import SetupError, SetupSettings


def test_a_secret_is_read_from_the_file_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "worker_token").write_text("from-file\n")
    settings = load_settings(app_env="test", secrets_dir=tmp_path)
    assert settings.secret("worker_token") == "from-file"


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker_token").write_text("from-file")
    monkeypatch.setenv("WORKER_TOKEN", "from-environment")
    settings = load_settings(app_env="test", secrets_dir=tmp_path)
    assert settings.secret("worker_token") == "from-environment"


def test_a_missing_secret_is_named_with_its_file(tmp_path: Path) -> None:
    settings = load_settings(app_env="test", secrets_dir=tmp_path)
    with pytest.raises(MissingSecret, match=f"{tmp_path}/webhook_hmac"):
        settings.secret("webhook_hmac")


def test_a_secrets_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingSecret, match="no folder"):
        load_settings(app_env="test", secrets_dir=tmp_path / "absent")


def test_the_environment_of_a_process_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APP_ENV", raising=False)
    with pytest.raises(ValidationError, match="app_env"):
        load_settings()


@pytest.mark.parametrize("placeholder", ["changeme", " ChangeMe\n", "change-me", "changethis"])
def test_the_one_shots_and_the_command_line_take_no_placeholder_outside_dev(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, placeholder: str
) -> None:
    monkeypatch.delenv("APP_ENV", raising=False)
    (tmp_path / "app_migrate_password").write_text(placeholder)
    for environment in ({}, {"app_env": "production"}):
        settings = SetupSettings.load(secrets_dir=tmp_path, **environment)
        with pytest.raises(SetupError, match="app_migrate_password holds a placeholder"):
            settings.secret("app_migrate_password")
    tolerant = SetupSettings.load(secrets_dir=tmp_path, app_env="dev")
    assert tolerant.secret("app_migrate_password") == placeholder.strip()


@pytest.mark.parametrize("value", ["ftp://x", "localhost:8080", "http://a/path", "http://u@h", ""])
def test_a_public_url_that_is_no_origin_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        load_settings(app_env="test", public_url=value)


def test_the_public_url_loses_its_last_slash_and_its_capitals() -> None:
    settings = load_settings(app_env="test", public_url="https://Desk.Example.com/")
    assert settings.public_url == "https://desk.example.com"


def test_production_needs_tls_but_on_this_machine() -> None:
    with pytest.raises(ValidationError, match="https in production"):
        load_settings(app_env="production", public_url="http://desk.example.com")
    load_settings(app_env="production", public_url="http://localhost:8080")
    load_settings(app_env="production", public_url="https://desk.example.com")


@pytest.mark.parametrize("placeholder", ["changeme", " ChangeMe ", "changethis"])
def test_production_refuses_what_a_template_ships(placeholder: str) -> None:
    load_settings(app_env="dev", worker_token=placeholder)
    with pytest.raises(ValidationError, match="WORKER_TOKEN"):
        load_settings(
            app_env="production", public_url="https://a.example", worker_token=placeholder
        )


def test_a_refused_secret_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ValidationError) as caught:
        load_settings(app_env="test", database_port="hunter2")
    assert "hunter2" not in str(caught.value)


def test_settings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_ENV", "test")
    get_settings.cache_clear()
    try:
        assert get_settings() is get_settings()
    finally:
        get_settings.cache_clear()


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("admin.localhost", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("localhost.evil.com", False),
        ("127.0.0.1.evil.com", False),
        ("10.0.0.1", False),
    ],
)
def test_only_names_of_this_machine_are_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
