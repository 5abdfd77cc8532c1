"""The errors we expect: what a client reads, and what it can do about it.

AppError
├── BadRequest            400  malformed before anything was looked at
├── NotSignedIn           401  only ever: no valid session (or service token)
├── Forbidden             403
├── NotFound              404
├── MethodNotAllowed      405, RequestTimeout 408
├── Conflict              409, PreconditionFailed 412
├── BodyTooLarge          413, UnsupportedMediaType 415
├── Unprocessable         422  the payload is understood and refused
├── TooManyRequests       429
└── Unavailable           503  always with Retry-After
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

URN = "urn:informania:problem:"


class AppError(Exception):
    """Something went wrong on our side."""

    status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR
    code: str = "internal_error"
    # What to do about it; the default of `detail`.
    remedy: ClassVar[str] = "Repeat the request later; quote the request id when you ask for help."

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        errors: Sequence[Mapping[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`detail` and `code` say more than the class does; `headers` go into the answer."""
        self.detail = detail or self.remedy or None
        if code is not None:
            self.code = code
        self.errors = errors
        self.headers = dict(headers or {})
        super().__init__(f"{self.code}: {self.detail}")

    @classmethod
    def title(cls) -> str:
        """Return the docstring's first sentence, without its full stop."""
        return (cls.__doc__ or "").strip().split("\n")[0].rstrip(".")

    def problem(self, instance: str | None = None) -> dict[str, Any]:
        """Return the body of RFC 9457."""
        body: dict[str, Any] = {
            "type": URN + self.code,
            "title": self.title(),
            "status": int(self.status),
            "code": self.code,
            "detail": self.detail,
            "instance": instance,
            "errors": list(self.errors) if self.errors else None,
        }
        return {name: value for name, value in body.items() if value is not None}


class BadRequest(AppError):
    """The request is malformed."""

    status = HTTPStatus.BAD_REQUEST
    code = "bad_request"
    remedy = "Send a well-formed HTTP request."


class JsonMalformed(BadRequest):
    """The body is not JSON."""

    code = "json_malformed"
    remedy = "Send one JSON object in UTF-8."


class BodyIncomplete(BadRequest):
    """The client left before its body had arrived."""

    code = "body_incomplete"
    remedy = "Repeat the request with the whole body."


class IdempotencyKeyMissing(BadRequest):
    """The Idempotency-Key header is missing."""

    code = "idempotency_key_missing"
    remedy = (
        "Mint an id of 1 to 36 characters of A-Z a-z 0-9 _ -, "
        "send it as Idempotency-Key, and repeat it when you repeat the request."
    )


class IdempotencyKeyInvalid(BadRequest):
    """The Idempotency-Key header is not valid."""

    code = "idempotency_key_invalid"
    remedy = "Send it once, with 1 to 36 characters of A-Z a-z 0-9 _ -, quoted or bare."


class PreconditionInvalid(BadRequest):
    """The header If-Match or If-None-Match is not valid."""

    code = "precondition_invalid"
    remedy = 'Send If-Match: "<version>" or *, or If-None-Match: *, and only one of them.'


class NotSignedIn(AppError):
    """There is no valid session."""

    status = HTTPStatus.UNAUTHORIZED
    code = "not_signed_in"
    remedy = "Sign in or refresh the session, then repeat the request."


class SessionRevoked(NotSignedIn):
    """The session was ended."""

    code = "session_revoked"
    remedy = "Sign in again."


class UserUnknown(NotSignedIn):
    """The user of this session is not known."""

    code = "user_unknown"
    remedy = "Ask an administrator to add the user, then sign in again."


class UserDisabled(NotSignedIn):
    """The user of this session is disabled."""

    code = "user_disabled"
    remedy = "Ask an administrator."


class ServiceTokenInvalid(NotSignedIn):
    """The service token is missing or wrong."""

    code = "service_token_invalid"
    remedy = "Send Authorization: Bearer with the whole token, as it was shown when it was made."


class SignatureInvalid(NotSignedIn):
    """The signature does not fit the body."""

    code = "signature_invalid"
    remedy = "Sign the raw body with HMAC-SHA256 and the webhook secret of this installation."


class Forbidden(AppError):
    """This is not allowed."""

    status = HTTPStatus.FORBIDDEN
    code = "forbidden"
    remedy = "Ask an administrator for the right to do this."


class CsrfRejected(Forbidden):
    """The request does not come from our own pages."""

    code = "csrf_rejected"
    remedy = "Send the header rid and an Origin equal to the public address of this installation."


class RoleNotAllowed(Forbidden):
    """The role of this user does not allow it."""

    code = "role_not_allowed"


class NotAllowedToTrade(Forbidden):
    """This user may see the account but not trade it."""

    code = "not_allowed_to_trade"


class TableReadOnly(Forbidden):
    """This table is written by the platform only."""

    code = "table_read_only"
    remedy = "Write to the table strategy."


class NotFound(AppError):
    """There is nothing here."""

    status = HTTPStatus.NOT_FOUND
    code = "not_found"
    remedy = "Check the address."


class AccountNotFound(NotFound):
    """There is no such account for this user."""

    code = "account_not_found"
    remedy = "Check account_id; only accounts the user is a member of exist for the user."


class OrderNotFound(NotFound):
    """There is no such order for this user."""

    code = "order_not_found"
    remedy = "Check the id; only orders of accounts the user is a member of exist for the user."


class StrategyNotFound(NotFound):
    """There is no such strategy in this account."""

    code = "strategy_not_found"
    remedy = "Check strategy_id."


class SourceUnknown(NotFound):
    """No account is routed to this source."""

    code = "source_unknown"
    remedy = "Set the account's route and broker account, then repeat."


class TableNotFound(NotFound):
    """There is no such table in the hot store."""

    code = "table_not_found"
    remedy = "Use quotes or strategy."


class KeyNotFound(NotFound):
    """There is no value under this key."""

    code = "key_not_found"
    remedy = "Check the key; it may have expired."


class MethodNotAllowed(AppError):
    """This address does not take this method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"
    remedy = "See the header Allow."


class RequestTimeout(AppError):
    """The body did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"
    remedy = "Send the whole body within ten seconds."


class Conflict(AppError):
    """The state it is in does not allow this."""

    status = HTTPStatus.CONFLICT
    code = "conflict"
    remedy = "Read the current state and decide again."


class OrderNotCancelable(Conflict):
    """The order is in a state that cannot be canceled."""

    code = "order_not_cancelable"
    remedy = "Read the order; it is already filled, rejected or expired."


class EpochStale(Conflict):
    """A newer deployment of this bridge has reported already."""

    code = "epoch_stale"
    remedy = "Stop the older deployment."


class PreconditionFailed(AppError):
    """The value is not in the version you expect."""

    status = HTTPStatus.PRECONDITION_FAILED
    code = "version_mismatch"
    remedy = "Read the value, take its ETag, decide again."


class BodyTooLarge(AppError):
    """The body is too large."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "body_too_large"
    remedy = "Send at most 64 KiB; a batch of orders takes 256 KiB, bulk data routes 8 MiB."


class UnsupportedMediaType(AppError):
    """The content type is not supported."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"
    remedy = "Send Content-Type: application/json in UTF-8."


class Unprocessable(AppError):
    """The request is understood and refused."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "unprocessable"
    remedy = "Correct the fields named in errors."


class ValidationFailed(Unprocessable):
    """Some fields of the request are not valid."""

    code = "validation_failed"


class IdempotencyKeyReused(Unprocessable):
    """This idempotency key was used before for another request."""

    code = "idempotency_key_reused"
    remedy = "Mint a new id for a new request; repeat an old one only with the same body."


class InstrumentNotFound(Unprocessable):
    """There is no such instrument."""

    code = "instrument_not_found"
    remedy = "Check symbol."


class ValueRefused(Unprocessable):
    """A value is outside of what the database takes."""

    code = "value_refused"
    remedy = "Use numbers below 10^12 with at most 8 decimals and text without NUL."


class TooManyRequests(AppError):
    """Too many requests."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "too_many_requests"
    remedy = "Wait as long as Retry-After says."


class Unavailable(AppError):
    """The service cannot answer now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"
    remedy = "Repeat the request, with the same Idempotency-Key, after Retry-After seconds."

    def __init__(self, detail: str | None = None, *, retry_after_s: int = 1, **more: Any) -> None:
        """Say in Retry-After when it is worth to come again."""
        super().__init__(detail, **more)
        self.headers.setdefault("Retry-After", str(retry_after_s))


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"


class DatabaseBusy(Unavailable):
    """All connections to the database are in use."""

    code = "database_busy"


class DatabaseContention(Unavailable):
    """The write collided with another one and was not made."""

    code = "database_contention"


class IdentityUnavailable(Unavailable):
    """The identity service does not answer."""

    code = "identity_unavailable"


class HotStoreUnavailable(Unavailable):
    """The hot store is not open in this process."""

    code = "hot_store_unavailable"


class HotStoreBusy(Unavailable):
    """The hot store takes no more writes for the moment."""

    code = "hot_store_busy"


class NotReady(Unavailable):
    """This process is not ready."""

    code = "not_ready"
