"""The sign-in page and its parts, read once, served from this origin alone.

The page holds no script and no style of its own, so that its policy can forbid both; what it links
carries a hash of its content and may be kept for ever.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

PAGES_DIR = Path(__file__).parent / "pages"
MEDIA_TYPES = {
    "login.css": "text/css; charset=utf-8",
    "login.js": "text/javascript; charset=utf-8",
    "logo.svg": "image/svg+xml",
}
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NEXT_LENGTH_MAX = 2000
HOME = "/"
# Places that no page is at: going there after signing in would end in a loop or in bare data.
NO_PAGES = ("/auth", "/api")


@dataclass(frozen=True, slots=True)
class Asset:
    """A part of the page, and what its content is called."""

    content: bytes
    media_type: str
    version: str

    @property
    def etag(self) -> str:
        """The version as HTTP writes it."""
        return f'"{self.version}"'

    def headers(self, version: str | None) -> dict[str, str]:
        """Let it be kept for ever under its own version, and be asked after under any other."""
        lasting = version == self.version
        return {
            "Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache",
            "ETag": self.etag,
        }


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """Read every part of the page."""
    return {name: _asset(name, media_type) for name, media_type in MEDIA_TYPES.items()}


def _asset(name: str, media_type: str) -> Asset:
    content = (PAGES_DIR / name).read_bytes()
    return Asset(content, media_type, hashlib.sha256(content).hexdigest()[:16])


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template((PAGES_DIR / "login.html").read_text(encoding="utf-8"))


def login_page(*, wanted: str, signing_out: bool) -> str:
    """Write the page: where it leads after signing in, and whether it signs out first."""
    versions = {name.replace(".", "_"): asset.version for name, asset in assets().items()}
    return _template().substitute(
        versions,
        mode="signout" if signing_out else "login",
        next=escape(safe_next(wanted), quote=True),
    )


def safe_next(wanted: str) -> str:
    """Return a path of our own pages; anything a browser could read as another place is `/`."""
    plain = wanted.isascii() and wanted.isprintable() and "\\" not in wanted and " " not in wanted
    if not plain or len(wanted) > NEXT_LENGTH_MAX:
        return HOME
    if not wanted.startswith("/") or wanted.startswith("//"):
        return HOME
    path = urlsplit(wanted).path
    # Browsers resolve dots, also written as %2e, before they ask.
    dotted = any(part.lower().replace("%2e", ".") in (".", "..") for part in path.split("/"))
    if dotted or any(path == place or path.startswith(f"{place}/") for place in NO_PAGES):
        return HOME
    return wanted
