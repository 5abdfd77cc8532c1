"""A token that was verified is not verified again, and not believed for longer."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.core.security import Actor, VerifiedTokens

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def actor(number: int = 1, *, lives: timedelta = timedelta(hours=1)) -> Actor:
    """Make who a token names."""
    return Actor(user_id=UUID(int=number), session_handle=f"s{number}", expires_at=NOW + lives)


def test_the_same_token_names_the_same_actor_until_it_expires() -> None:
    tokens = VerifiedTokens()
    tokens.keep("a.b.c", actor())

    assert tokens.actor_of("a.b.c", NOW + timedelta(minutes=59)) == actor()
    assert tokens.actor_of("a.b.c", NOW + timedelta(hours=1)) is None


def test_a_token_that_differs_in_one_character_is_unknown() -> None:
    tokens = VerifiedTokens()
    tokens.keep("a.b.c", actor())

    assert tokens.actor_of("a.b.C", NOW) is None
    assert tokens.actor_of("a.b.c ", NOW) is None
    assert tokens.actor_of("", NOW) is None


def test_the_token_used_longest_ago_makes_room() -> None:
    tokens = VerifiedTokens(kept_max=2)
    tokens.keep("one", actor(1))
    tokens.keep("two", actor(2))
    assert tokens.actor_of("one", NOW) == actor(1)
    tokens.keep("three", actor(3))

    assert tokens.actor_of("two", NOW) is None
    assert tokens.actor_of("one", NOW) == actor(1)
    assert tokens.actor_of("three", NOW) == actor(3)
