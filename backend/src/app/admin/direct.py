"""The kill switch while the API is down: straight to the database; side effect: Postgres."""

import getpass

import psycopg

from app.admin.client import Failed
from app.services.database_setup import SetupError, SetupSettings


def force_state(*, scope: str, scope_id: int, state: str, reason: str, cancel_open: bool) -> None:
    """Set a trading state as app_migrate, whose password is in this installation's secrets."""
    actor = f"operator:{getpass.getuser()}"[:100]
    try:
        with SetupSettings.load().connect("app_migrate") as connection:
            # The cancels of thousands of orders take a while; the halt does not wait for them.
            for cancel in (False, True) if cancel_open else (False,):
                connection.execute(
                    "SELECT app.sp_trading_state_force(%s, %s, %s, %s, %s, %s)",
                    (actor, scope, scope_id, state, reason, cancel),
                )
    except (SetupError, psycopg.Error) as error:
        raise Failed(str(error).strip()) from error
