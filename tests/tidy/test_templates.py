"""The templates name exactly what the processes read, and none of them starts production."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.core.settings import SECRET_FIELDS, Settings, load_settings
from native.installation import ROOT, find_installation, read_env_file
from native.services import platform

TEMPLATES = ROOT / "secrets/templates"
CADDYFILE = ROOT / "ops/reverse-proxy/caddy/Caddyfile"
PLACEHOLDER = "changeme"
# Where the names of .env.example may be read.
READERS = (
    "ops/native/*.py",
    "backend/src/app/core/settings.py",
    "backend/paper/settings.py",
    "docker-compose.yml",
    "scripts/run_all.sh",
)


class Recorder(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


def template(name: str, tmp_path: Path) -> dict[str, str]:
    """Read a template as it would be used, with a secrets folder that is there and empty."""
    values = read_env_file(TEMPLATES / f"{name}.env.example")
    if "SECRETS_DIR" in values:
        values["SECRETS_DIR"] = str(tmp_path)
    return values


def filled(values: dict[str, str]) -> dict[str, str]:
    """Replace the placeholders, as somebody who deploys does."""
    return {name: "s" * 40 if it == PLACEHOLDER else it for name, it in values.items()}


def placeholders(values: dict[str, str]) -> set[str]:
    return {name for name, value in values.items() if value == PLACEHOLDER}


def load_backend(values: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def screen_settings() -> Any:
    """The screen's own module; its folder is on no path, since `app` means something else there."""
    path = ROOT / "ui/streamlit/services/settings.py"
    spec = importlib.util.spec_from_file_location("screen_settings", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_api_template_names_every_setting_and_no_other(tmp_path: Path) -> None:
    names = {name.upper() for name in Settings.model_fields}
    assert set(template("api", tmp_path)) == names


def test_the_placeholders_of_the_api_template_are_its_secrets(tmp_path: Path) -> None:
    assert placeholders(template("api", tmp_path)) == {name.upper() for name in SECRET_FIELDS}


@pytest.mark.parametrize("secret", [name.upper() for name in SECRET_FIELDS])
def test_production_refuses_the_api_template_until_each_secret_is_real(
    secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**filled(template("api", tmp_path)), secret: PLACEHOLDER}
    with pytest.raises(ValidationError, match=f"{secret} holds a placeholder"):
        load_backend(values, monkeypatch)


def test_the_filled_api_template_starts_production(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_backend(filled(template("api", tmp_path)), monkeypatch)
    assert settings.app_env == "production"
    assert all(settings.secret(name) for name in SECRET_FIELDS)


def test_the_screen_template_names_every_setting_and_no_other(tmp_path: Path) -> None:
    environ = Recorder(filled(template("streamlit", tmp_path)))
    screen_settings().load_settings(environ)
    assert set(environ) == environ.asked


def test_production_refuses_the_screen_template_until_each_secret_is_real(tmp_path: Path) -> None:
    screen = screen_settings()
    values = template("streamlit", tmp_path)
    assert placeholders(values) == {name.upper() for name in screen.SECRET_NAMES}
    for secret in placeholders(values):
        with pytest.raises(screen.SettingsError, match=f"{secret} holds a placeholder"):
            screen.load_settings({**filled(values), secret: PLACEHOLDER})
    settings = screen.load_settings(filled(values))
    assert all(settings.secret(name) for name in screen.SECRET_NAMES)


def test_the_proxy_template_names_what_the_caddyfile_reads(tmp_path: Path) -> None:
    text = CADDYFILE.read_text()
    read = set(re.findall(r"\{\$([A-Z_]+)", text)) | set(re.findall(r"\{env\.([A-Z_]+)\}", text))
    assert set(template("proxy", tmp_path)) == read


def test_the_proxy_holds_no_secret_but_the_one_that_the_screen_checks(tmp_path: Path) -> None:
    assert placeholders(template("proxy", tmp_path)) == {"PROXY_SECRET"}


@pytest.mark.parametrize(
    "path", [*TEMPLATES.glob("*"), ROOT / ".env.example"], ids=lambda p: p.name
)
def test_every_variable_of_a_template_is_explained(path: Path) -> None:
    explained = False
    for line in path.read_text().splitlines():
        if re.match(r"#?[A-Z_]+=", line):
            assert explained, f"{path.name}: nothing explains {line}"
        else:
            # Variables that follow each other share one comment; a blank line ends it.
            explained = line.startswith("# ")


def commented() -> dict[str, str]:
    """What .env.example would say without its comment signs."""
    lines = re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    return dict(lines)


def table(folder: Path) -> list[tuple[Any, ...]]:
    """What the runner would start in a folder."""
    it = find_installation({"PATH": "/usr/bin"}, folder)
    services = platform(it, admin_socket=Path("/x"))
    return [(s.name, s.argv, s.cwd, dict(s.env), s.needs, dict(s.ports)) for s in services]


def test_the_example_as_env_file_changes_nothing(tmp_path: Path) -> None:
    before = table(tmp_path)
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text())
    assert table(tmp_path) == before


def test_the_example_shows_what_holds_without_it(tmp_path: Path) -> None:
    api = next(env for name, _, _, env, *_ in table(tmp_path) if name == "api")
    fields = {name.upper(): str(it.default) for name, it in Settings.model_fields.items()}
    containers = {name: default for name, default in compose_variables() if default}
    elsewhere = {"RUN_DIR": ".run", "MODE": "auto"}
    for name, value in commented().items():
        held = (containers.get(name), api.get(name), fields.get(name), elsewhere.get(name))
        assert not value or value in held, name


def compose_variables() -> set[tuple[str, str]]:
    """The variables of docker-compose.yml with their defaults."""
    text = (ROOT / "docker-compose.yml").read_text()
    return set(re.findall(r"\$\{([A-Z_]+)(?::?-([^${}]*))?", text))


def test_the_example_names_every_variable_of_the_containers() -> None:
    # The runner says these itself.
    ours = {
        "APP_ENV", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "HOST_SECRETS_DIR",
        "POOLED_DATABASE_HOST", "POOLED_DATABASE_PORT", "PUBLIC_NAME",
    }  # fmt: skip
    assert {name for name, _ in compose_variables()} - ours <= set(commented())


@pytest.mark.parametrize("name", sorted(commented()))
def test_every_name_of_the_example_is_read_somewhere(name: str) -> None:
    files = [path for pattern in READERS for path in ROOT.glob(pattern)]
    words = re.compile(rf"\b({name}|{name.lower()})\b")
    assert any(words.search(path.read_text()) for path in files)


def test_no_name_of_the_example_is_thrown_away(tmp_path: Path) -> None:
    lines = "".join(f"{name}=1\n" for name in commented() if name not in ("PORT_BASE", "RUN_DIR"))
    (tmp_path / ".env").write_text(lines)
    kept = find_installation({"PATH": "/usr/bin"}, tmp_path).environ
    assert set(commented()) - {"PORT_BASE", "RUN_DIR"} <= set(kept)
