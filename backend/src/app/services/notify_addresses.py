"""Addresses of notifications: which are taken, and how they are sealed.

An address is a URL of Apprise and holds its own credentials. The API seals it, the worker opens it,
and nothing else ever shows more of it than a hint. Both derive the key from a secret they share.
"""

from __future__ import annotations

import hmac
import os
import re
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import parse_qsl, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

URL_MAX = 500
NONCE_SIZE = 12
MAIL = frozenset({"to", "from", "name", "cc", "bcc", "reply", "smtp", "user", "pass", "port"})
# Scheme -> what may stand behind the question mark. Anything else could name files to read,
# switch off the check of a certificate, or make deliveries wait.
SCHEMES: dict[str, frozenset[str]] = {
    "mailto": MAIL,
    "mailtos": MAIL,
    "jsons": frozenset({"method"}),
    "slack": frozenset(),
    "discord": frozenset(),
    "tgram": frozenset(),
    "gchat": frozenset(),
    "workflows": frozenset({"id"}),
    "mmosts": frozenset({"channel"}),
    "ntfys": frozenset({"priority", "to"}),
}
# To a server of one's own, if the operator lets it.
PRIVATE_SCHEMES = {"json": SCHEMES["jsons"]}
# Whose first part is a host; of the others it is a key or a user.
HOSTED = frozenset({"mailto", "mailtos", "json", "jsons", "workflows", "mmosts", "ntfys"})
HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")
PRIVATE_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")
# IPv4 in the clothes of IPv6: where it leads is decided elsewhere.
TRANSLATED = tuple(IPv6Network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"))


class AddressRefused(ValueError):
    """An address that no message may go to; says why, and never what it was."""


def hint_of(url: str, *, allow_private: bool) -> str:
    """Check an address, and return what of it may be shown; raises AddressRefused."""
    if len(url) > URL_MAX or not re.fullmatch(r"[\x21-\x7e]+", url):
        raise AddressRefused("not a URL of at most 500 printable characters")
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        # What looks like a port is half of a key elsewhere.
        _ = parts.port if parts.scheme in HOSTED else None
    except ValueError as error:
        raise AddressRefused("not a URL") from error
    schemes = SCHEMES | (PRIVATE_SCHEMES if allow_private else {})
    if parts.scheme not in schemes or not host:
        raise AddressRefused(f"not one of {', '.join(f'{scheme}://' for scheme in schemes)}")
    named = {name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    if not named <= schemes[parts.scheme] or parts.fragment:
        options = ", ".join(sorted(schemes[parts.scheme])) or "nothing"
        raise AddressRefused(f"behind the question mark {parts.scheme} takes {options}")
    if parts.scheme not in HOSTED:
        return f"{parts.scheme}://..."
    if not allow_private and not is_public_host(host):
        raise AddressRefused("its host is not on the public internet")
    return f"{parts.scheme}://{host}/..."


def is_public_host(host: str) -> bool:
    """Say whether a host may be public, by its name alone; where it leads shows on connecting."""
    try:
        return is_public(ip_address(host))
    except ValueError:
        pass
    name = host.lower()
    # The last label of a name is never a number: 127.1 and 0x7f.0.0.1 are addresses.
    numeric = re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)", name.rpartition(".")[2])
    return bool(HOST.fullmatch(name)) and not numeric and not name.endswith(PRIVATE_NAMES)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Say whether an address is on the public internet, and nothing inside it is not."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.teredo is not None or any(address in net for net in TRANSLATED):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class Sealer:
    """Seals addresses under a key of their own, derived from a secret."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"informania notifications: seal", sha256)
        self._print = hmac.digest(secret.encode(), b"informania notifications: print", sha256)

    def seal(self, url: str) -> bytes:
        """Encrypt an address; no two seals are alike."""
        nonce = os.urandom(NONCE_SIZE)
        return nonce + AESGCM(self._key).encrypt(nonce, url.encode(), None)

    def open(self, sealed: bytes) -> str | None:
        """Decrypt an address; None when it was sealed under another secret, or damaged."""
        try:
            nonce, sealed = sealed[:NONCE_SIZE], sealed[NONCE_SIZE:]
            return AESGCM(self._key).decrypt(nonce, sealed, None).decode()
        except (InvalidTag, ValueError):
            return None

    def fingerprint(self, url: str) -> bytes:
        """Tell two addresses apart without telling what they are."""
        return hmac.digest(self._print, url.encode(), sha256)
