"""Anchors: signed Merkle roots of all heads, which somebody outside the database can check.

What is signed is the statement, a line of JSON; it names the root and the statement before it. The
heads lie beside it, so that an order's proof tells nothing of other accounts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.audits.merkle import path_of, root_from, root_of

FORMAT = "informania.anchor.v1"


class AnchorInvalid(Exception):
    """This is no anchor, or not one of ours; the message says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a stream's chain went, and the hash of its last row."""

    stream_id: int
    seq: int
    hash: bytes

    @property
    def leaf(self) -> bytes:
        """The leaf of the tree."""
        return json.dumps(self.row(), separators=(",", ":")).encode()

    def row(self) -> list[Any]:
        """The head as JSON has it."""
        return [self.stream_id, self.seq, self.hash.hex()]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A statement with its signature and the heads it is about."""

    number: int
    anchored_at: datetime
    root: bytes
    # The hash of the statement before this one; empty before the first.
    previous: str
    statement: str
    signature: bytes
    public_key: bytes
    heads: tuple[Head, ...]

    @property
    def name(self) -> str:
        """The name of its file: names sort by time."""
        return f"{self.anchored_at:%Y%m%dT%H%M%S.%fZ}-{self.number:09d}.json"

    @property
    def digest(self) -> str:
        """What the next anchor calls `previous`."""
        return sha256(self.statement.encode()).hexdigest()

    def file(self) -> bytes:
        """The anchor as it lies outside the database."""
        document = {
            "statement": self.statement,
            "signature": self.signature.hex(),
            "public_key": self.public_key.hex(),
            "heads": [head.row() for head in self.heads],
        }
        return (json.dumps(document, indent=1) + "\n").encode()

    def proof(self, stream_id: int) -> dict[str, Any]:
        """Return what proves the head of one stream to whom the others are no business of."""
        places = [head.stream_id for head in self.heads]
        if stream_id not in places:
            raise AnchorInvalid(f"anchor {self.number} knows no stream {stream_id}")
        index = places.index(stream_id)
        path = path_of(index, [head.leaf for head in self.heads])
        return {
            "statement": self.statement,
            "signature": self.signature.hex(),
            "public_key": self.public_key.hex(),
            "leaf": self.heads[index].leaf.decode(),
            "index": index,
            "path": [beside.hex() for beside in path],
        }


def signing_key(secret: str) -> Ed25519PrivateKey:
    """Make the key of the secret `anchor_key`, whatever its length."""
    seed = sha256(b"informania anchor key\0" + secret.encode()).digest()
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes by which anybody checks our signatures."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def make_anchor(
    heads: Sequence[Head],
    *,
    anchored_at: datetime,
    before: Anchor | None,
    key: Ed25519PrivateKey,
) -> Anchor:
    """Sign the root of the heads; `before` is the newest anchor there is."""
    statement = json.dumps(
        {
            "format": FORMAT,
            "number": before.number + 1 if before else 1,
            "anchored_at": anchored_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "streams": len(heads),
            "root": root_of([head.leaf for head in heads]).hex(),
            "previous": before.digest if before else "",
        },
        separators=(",", ":"),
    )
    signature = key.sign(statement.encode())
    return read_anchor(statement, signature, public_bytes(key), [head.row() for head in heads])


def read_anchor(statement: str, signature: bytes, public_key: bytes, heads: Any) -> Anchor:
    """Check an anchor in itself: its signature, and that its root is that of its heads."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement.encode())
    except (InvalidSignature, ValueError) as error:
        raise AnchorInvalid("the signature does not fit the statement") from error
    try:
        said = json.loads(statement)
        rows = tuple(Head(int(row[0]), int(row[1]), bytes.fromhex(row[2])) for row in heads)
        anchor = Anchor(
            number=int(said["number"]),
            anchored_at=datetime.fromisoformat(said["anchored_at"]),
            root=bytes.fromhex(said["root"]),
            previous=str(said["previous"]),
            statement=statement,
            signature=signature,
            public_key=public_key,
            heads=rows,
        )
    except (ValueError, LookupError, TypeError) as error:
        raise AnchorInvalid(f"the statement is not whole: {error!r}") from error
    if said.get("format") != FORMAT or said.get("streams") != len(rows):
        raise AnchorInvalid("the statement is about something else")
    if root_of([head.leaf for head in rows]) != anchor.root:
        raise AnchorInvalid("the heads are not those of the signed root")
    return anchor


def read_file(content: bytes) -> Anchor:
    """Read an anchor as it lies outside the database, and check it in itself."""
    try:
        found = json.loads(content)
        signature, public_key = (bytes.fromhex(found[it]) for it in ("signature", "public_key"))
        statement, heads = str(found["statement"]), found["heads"]
    except (ValueError, LookupError, TypeError) as error:
        raise AnchorInvalid(f"the file is no anchor: {error!r}") from error
    return read_anchor(statement, signature, public_key, heads)


def proof_holds(proof: dict[str, Any]) -> bool:
    """Say whether a proof's path leads to its signed root; its signature is checked as well."""
    said = json.loads(proof["statement"])
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(proof["public_key"]))
    try:
        key.verify(bytes.fromhex(proof["signature"]), proof["statement"].encode())
    except InvalidSignature:
        return False
    path = [bytes.fromhex(it) for it in proof["path"]]
    root = root_from(proof["leaf"].encode(), proof["index"], said["streams"], path)
    return root is not None and root.hex() == said["root"]
