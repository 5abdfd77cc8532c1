"""Every error is a problem of RFC 9457 with a cause and a remedy."""

import json
import re

import pytest

from app.core import errors
from app.core.errors import AppError
from app.core.problems import problem_response, validation_failed


def every_error(base: type[AppError] = AppError) -> list[type[AppError]]:
    below = [kind for child in base.__subclasses__() for kind in every_error(child)]
    return [base, *below]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_names_a_code_a_title_and_a_remedy(kind: type[AppError]) -> None:
    body = kind().problem("/api/orders")
    assert re.fullmatch(r"[a-z][a-z_]{2,40}", body["code"])
    assert body["type"] == f"urn:informania:problem:{body['code']}"
    assert len(body["title"]) > 8
    assert not body["title"].endswith(".")
    assert len(body["detail"]) > 8
    assert body["status"] == int(kind.status)


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in every_error() if kind.__module__ == errors.__name__]
    assert len(codes) == len(set(codes))


def test_only_a_missing_session_or_token_is_401() -> None:
    unauthorized = {kind for kind in every_error() if kind.status == 401}
    assert unauthorized == set(every_error(errors.NotSignedIn))


@pytest.mark.parametrize("kind", every_error(errors.Unavailable), ids=lambda kind: kind.__name__)
def test_every_503_says_when_to_come_again(kind: type[errors.Unavailable]) -> None:
    answer = problem_response(kind())
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_a_problem_is_never_stored_and_has_its_own_media_type() -> None:
    answer = problem_response(errors.OrderNotFound(), "/api/orders/x")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert json.loads(bytes(answer.body))["instance"] == "/api/orders/x"


def test_a_path_without_an_encoding_still_gets_an_answer() -> None:
    answer = problem_response(errors.NotFound(), "/api/\ud800" + "x" * 1000)
    assert len(json.loads(bytes(answer.body))["instance"]) <= 200


def test_a_validation_error_names_fields_and_never_values() -> None:
    found = [{"loc": ("body", "x\ud800", 3), "type": "extra", "input": "hunter2", "msg": "hunter2"}]
    body = validation_failed(found).problem()
    assert body["errors"] == [{"loc": ["body", "x?", 3], "type": "extra"}]
    assert "hunter2" not in json.dumps(body)


def test_the_list_of_faults_is_bounded() -> None:
    found = [{"loc": (index,), "type": "extra"} for index in range(1000)]
    assert len(validation_failed(found).problem()["errors"]) == 20
