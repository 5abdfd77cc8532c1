"""Strict JSON: what Python's parser lets through is refused here."""

import pytest

from app.core.errors import AppError, JsonMalformed, ValidationFailed
from app.core.strict_json import DEPTH_MAX, parse_strict_json


def kind_of(error: AppError) -> object:
    assert error.errors is not None
    return error.errors[0]["type"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"a": NaN}', "not_a_finite_number"),
        (b'{"a": Infinity}', "not_a_finite_number"),
        (b'{"a": [-Infinity]}', "not_a_finite_number"),
        (b'{"a": 1e400}', "not_a_finite_number"),
        (b'{"a": -1e400}', "not_a_finite_number"),
        (b'{"a": 1, "a": 2}', "duplicate_key"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "duplicate_key"),
        (b'{"a": "\\ud800"}', "lone_surrogate"),
        (b'{"\\udfff": 1}', "lone_surrogate"),
        (b'{"a": ' + b"9" * 5000 + b"}", "number_too_long"),
        (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "too_deep"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        parse_strict_json(body)
    assert kind_of(caught.value) == kind


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": 1} x',
        b"\xff\xfe{\x00}\x00",
        b'{"a": "\xc3\x28"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(JsonMalformed):
        parse_strict_json(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": "1.5", "b": [true, null, 2]}', {"a": "1.5", "b": [True, None, 2]}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\N{GRINNING FACE}"}),
        (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, None),
    ],
)
def test_plain_json_passes(body: bytes, value: object) -> None:
    parsed = parse_strict_json(body)
    assert value is None or parsed == value
