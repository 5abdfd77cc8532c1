"""Streamlit's own options: what only this installation knows, and what no door stays without.

`config.toml` says the rest. Streamlit also reads a file in the home folder and the environment, so
what the doors depend on is looked at once more before anything is served.
"""

from gate.identity import HEADERS
from services.settings import Settings, SettingsError
from streamlit import config

REQUIRED: dict[str, object] = {
    "global.developmentMode": False,
    "server.baseUrlPath": "",
    "server.corsAllowedOrigins": [],
    "server.enableAgentApi": False,
    "server.enableCORS": True,
    "server.enableStaticServing": False,
    "server.enableXsrfProtection": True,
    "server.scriptHealthCheckEnabled": False,
    # A session is resumed only by the user, role and login that opened it.
    "server.trustedUserHeaders": HEADERS,
    "client.allowedOrigins": [],
    "browser.gatherUsageStats": False,
    "runner.postScriptGC": False,
}


def apply_options(settings: Settings) -> None:
    """Set what differs per installation; refuse to start when a door would stand open."""
    where = "this installation"
    config.set_option("server.cookieSecret", settings.secret("streamlit_cookie"), where)
    config.set_option("server.allowedHosts", [settings.public_host], where)
    wrong = [name for name, value in REQUIRED.items() if config.get_option(name) != value]
    if wrong:
        raise SettingsError(
            f"Streamlit's options {', '.join(wrong)} are not what ui/streamlit/config.toml says:"
            " look for STREAMLIT_* in the environment and for ~/.streamlit/config.toml."
        )
