"""How a key of the read tokens is called; so an old and a new one are told apart."""

from hashlib import sha256


def key_id_of(key: str) -> str:
    """Return the name of a key, which says nothing of it."""
    return sha256(b"informania token key\0" + key.encode()).hexdigest()[:16]
