"""What is replaced inside the SDK, and when its keys are asked for."""

import hashlib
import inspect
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from jwt.algorithms import RSAAlgorithm
from supertokens_python.querier import Querier
from supertokens_python.recipe.session import jwks

from app.auth.signin_limit import SigninLimit, account_key, address_key
from app.core.errors import IdentityUnavailable, TooManyRequests
from app.services import core_client
from app.services.core_client import SdkChanged, SigningKeys

# The sources that app.services.core_client stands in for. When one changes, read it again: the
# SDK may keep its client open by now (supertokens-python#650), and ours can go.
REPLACED = {
    "api_request": "ae97c7ac3b7f0641",
    "get_latest_keys": "42beb91c9f3c4f0f",
}


def fingerprint(function: object) -> str:
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]  # type: ignore[arg-type]


def jwk(key_id: str, **changes: object) -> dict[str, Any]:
    public = RSAAlgorithm.to_jwk(generate_private_key(65_537, 2048).public_key(), as_dict=True)
    return {**public, "kid": key_id, "alg": "RS256", **changes}


def test_the_sdk_is_the_one_our_replacements_were_written_for() -> None:
    core_client.check_sdk()
    found = {
        "api_request": fingerprint(core_client._original_request),
        "get_latest_keys": fingerprint(core_client._original_keys),
    }
    assert found == REPLACED


def test_another_sdk_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_client, "VERSION", "0.32.0")
    with pytest.raises(SdkChanged, match=r"0\.32\.0"):
        core_client.check_sdk()


def test_a_changed_signature_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def other(self: Querier, url: str) -> None: ...

    monkeypatch.setattr(core_client, "_original_request", other)
    with pytest.raises(SdkChanged):
        core_client.check_sdk()


def test_the_sdk_fetches_keys_nowhere_else() -> None:
    assert "requests.get" in inspect.getsource(jwks.get_latest_keys)


class Published:
    """A core's answer, and how often it was asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        return {"keys": self.keys}


async def test_only_keys_that_sign_sessions_are_kept() -> None:
    published = Published(
        jwk("d-1"), jwk("s-1"), jwk("d-2", alg="RS512"), {"kid": "d-3", "kty": "oct"}
    )
    keys = SigningKeys(published)
    await keys.refresh()
    assert keys.get("d-1").key_id == "d-1"
    for other in ("s-1", "d-2", "d-3", None):
        with pytest.raises(LookupError):
            keys.get(other)


async def test_a_cold_store_says_so_instead_of_refusing_the_session() -> None:
    keys = SigningKeys(Published())
    with pytest.raises(IdentityUnavailable):
        keys.get("d-1")
    with pytest.raises(IdentityUnavailable):
        await keys.ensure("d-1")


async def test_an_unknown_key_is_asked_for_once_a_second_however_many_ask() -> None:
    published = Published(jwk("d-1"))
    keys = SigningKeys(published)
    await keys.refresh()
    for number in range(50):
        await keys.ensure(f"d-{number}")
    assert published.asked == 1
    await keys.ensure("s-1")
    assert published.asked == 1


async def test_a_new_key_is_found_when_a_token_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(jwk("d-1"))
    keys = SigningKeys(published)
    await keys.refresh()
    published.keys.append(jwk("d-2"))
    monkeypatch.setattr(core_client, "KEYS_RETRY_S", 0)
    await keys.ensure("d-2")
    assert keys.get("d-2").key_id == "d-2"
    assert keys.get("d-1").key_id == "d-1"


def test_a_bucket_refills_over_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("app.auth.signin_limit.monotonic", lambda: clock[0])
    limit = SigninLimit(6)
    for _ in range(6):
        limit.take("a")
    with pytest.raises(TooManyRequests) as refused:
        limit.take("a")
    assert refused.value.headers["Retry-After"] == "10"
    clock[0] = 9.9
    with pytest.raises(TooManyRequests):
        limit.take("a")
    clock[0] = 10.1
    limit.take("a")


def test_a_refused_attempt_costs_the_other_bucket_nothing() -> None:
    limit = SigninLimit(2)
    limit.take("a", "b")
    limit.take("a", "c")
    for _ in range(5):
        with pytest.raises(TooManyRequests):
            limit.take("a", "d")
    limit.take("d")
    limit.take("d")


def test_a_success_is_no_failure_and_gives_no_more_than_there_was() -> None:
    limit = SigninLimit(2)
    for _ in range(10):
        limit.take("a")
        limit.give_back("a")
    limit.take("a")
    limit.take("a")
    with pytest.raises(TooManyRequests):
        limit.take("a")


def test_the_buckets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.auth.signin_limit.BUCKETS_MAX", 10)
    limit = SigninLimit(2)
    for number in range(1000):
        limit.take(str(number))
    assert len(limit._buckets) == 10


def test_one_customer_is_one_address_and_one_account_one_name() -> None:
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff:2")
    assert address_key("2001:db8::1") != address_key("2001:db8:0:1::1")
    assert address_key("192.0.2.1") != address_key("192.0.2.2")
    assert address_key(None)
    assert account_key(" A@B.example") == account_key("a@b.example ")
