"""JSON as RFC 8259 means it, without what its parsers let through."""

import json
from typing import Any, NoReturn

from app.core.errors import JsonMalformed, ValidationFailed

DEPTH_MAX = 32


class _Refused(ValueError):
    """Well-formed for Python, but not a value that we take."""


def parse_strict_json(body: bytes) -> Any:
    """Parse a body; NaN, Infinity, overflowing numbers, doubled keys, lone surrogates are refused.

    Python's parser takes the last of two equal keys, reads NaN and turns 1e400 into infinity; each
    of them would let two readers of one body see two different orders.
    """
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_int,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except _Refused as error:
        raise ValidationFailed(errors=[{"loc": ["body"], "type": str(error)}]) from error
    except UnicodeEncodeError as error:
        raise ValidationFailed(errors=[{"loc": ["body"], "type": "lone_surrogate"}]) from error
    except (ValueError, RecursionError) as error:
        raise JsonMalformed() from error
    if depth(value) > DEPTH_MAX:
        raise ValidationFailed(errors=[{"loc": ["body"], "type": "too_deep"}])
    return value


def depth(value: Any) -> int:
    """Count the levels of nesting, without recursion."""
    level, layer = 0, [value]
    while any(isinstance(node, dict | list) for node in layer):
        level += 1
        layer = [item for node in layer for item in _children(node)]
    return level


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Refused("duplicate_key")
    return result


def _refuse_constant(_text: str) -> NoReturn:
    raise _Refused("not_a_finite_number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _Refused("not_a_finite_number")
    return number


def _short_int(text: str) -> int:
    # Long ones cost quadratic time, and no field of ours takes them.
    if len(text) > 20:
        raise _Refused("number_too_long")
    return int(text)
