"""What is secret: digests, sealed blobs, and the RSA keys that sign tokens."""

import asyncio
import hashlib
import os
import uuid
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwt.algorithms import RSAAlgorithm

from devcore.settings import Refused, Settings
from devcore.store import Store, now_ms

KEYS_LOCK = 73_102
FOREIGN_KEYS = (
    "devcore: the keys in auth_dev.signing_keys were sealed with another core_api_key. Put the "
    "old one back, or empty that table: everybody has to sign in again then."
)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Seal:
    """Encryption under a key that follows from the API key and a purpose."""

    def __init__(self, api_key: str, purpose: bytes) -> None:
        key = HKDF(SHA256(), length=32, salt=b"informania devcore", info=purpose)
        self._cipher = AESGCM(key.derive(api_key.encode()))

    def close(self, plain: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + self._cipher.encrypt(nonce, plain, None)

    def open(self, sealed: bytes) -> bytes | None:
        try:
            return self._cipher.decrypt(sealed[:12], sealed[12:], None)
        except (InvalidTag, ValueError):
            return None


class SigningKey(NamedTuple):
    key_id: str
    created_at: int
    private: RSAPrivateKey


class KeyRing:
    """Dynamic keys, which rotate, and a static one: sealed in the database, open in memory."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._seal = Seal(settings.core_api_key, b"signing keys")
        self._lifetime_ms = settings.key_lifetime_ms
        # A key stays known until the last token it signed has expired.
        self._known_ms = settings.key_lifetime_ms + settings.access_validity_ms
        self._keys: dict[str, SigningKey] = {}

    async def current(self, *, static: bool = False) -> SigningKey:
        """Return the key that signs now; make a new one when the last is too old."""
        return self._usable(static) or await self._renewed(static)

    async def known(self) -> dict[str, SigningKey]:
        """Return every key whose tokens may still be valid."""
        await self.current()
        await self.current(static=True)
        oldest = now_ms() - self._known_ms
        return {k: v for k, v in self._keys.items() if k[0] == "s" or v.created_at > oldest}

    def _usable(self, static: bool) -> SigningKey | None:
        oldest = 0 if static else now_ms() - self._lifetime_ms
        keys = [key for key in self._keys.values() if (key.key_id[0] == "s") is static]
        newest = max(keys, key=lambda key: key.created_at, default=None)
        return newest if newest and newest.created_at > oldest else None

    async def _renewed(self, static: bool) -> SigningKey:
        async with self._store.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", KEYS_LOCK)
            rows = await connection.fetch("SELECT * FROM auth_dev.signing_keys")
            self._keys = {row["key_id"]: self._opened(row) for row in rows}
            if key := self._usable(static):
                return key
            private = await asyncio.to_thread(generate_private_key, 65_537, 2048)
            key = SigningKey(f"s-{uuid.uuid4()}" if static else f"d-{now_ms()}", now_ms(), private)
            shape = form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption()
            sealed = self._seal.close(private.private_bytes(*shape))
            sql = "INSERT INTO auth_dev.signing_keys VALUES ($1, $2, $3)"
            await connection.execute(sql, key.key_id, key.created_at, sealed)
            sql = "DELETE FROM auth_dev.signing_keys WHERE key_id LIKE 'd-%' AND created_at < $1"
            await connection.execute(sql, now_ms() - self._known_ms)
        self._keys[key.key_id] = key
        return key

    def _opened(self, row: Any) -> SigningKey:
        plain = self._seal.open(row["sealed"])
        if plain is None:
            raise Refused(FOREIGN_KEYS)
        private: Any = form.load_der_private_key(plain, password=None)
        return SigningKey(row["key_id"], row["created_at"], private)


def as_jwk(key: SigningKey) -> dict[str, Any]:
    public = RSAAlgorithm.to_jwk(key.private.public_key(), as_dict=True)
    return {**public, "kid": key.key_id, "alg": "RS256", "use": "sig"}
