"""What is refused of the tokens by which programs act; more errors are in `errors`."""

from app.core.errors import BadRequest, Forbidden, NotFound, NotSignedIn


class CredentialsDoubled(BadRequest):
    """A request carries a session or a service token, never both."""

    code = "credentials_doubled"
    remedy = "A program sends Authorization: Bearer and no cookie; a browser the other way round."


class ServiceTokenRevoked(NotSignedIn):
    """This service token was revoked."""

    code = "service_token_revoked"
    remedy = "Ask an administrator for another one."


class ServiceTokenExpired(NotSignedIn):
    """This service token has expired."""

    code = "service_token_expired"
    remedy = "Ask an administrator for another one."


class ScopeNotAllowed(Forbidden):
    """The scopes of this service token do not allow it."""

    code = "scope_not_allowed"
    remedy = "Ask an administrator for a token with the scope that is named."


class TokenNotFound(NotFound):
    """There is no such service token."""

    code = "token_not_found"
    remedy = "Check token_id in the list of service tokens."
