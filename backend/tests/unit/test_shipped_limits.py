"""The limits on sessions fit into each other, from PgBouncer down to the server."""

import configparser
import re
from pathlib import Path

from app.services.database_setup import LOGIN_ROLES, REPOSITORY_DIR

CONF = (REPOSITORY_DIR / "db/postgres/config/postgresql.conf").read_text()
ROLES = (REPOSITORY_DIR / "db/postgres/security/roles.sql").read_text()
POOLERS_AT_A_TIME = 2
RESERVED_FOR_SUPERUSERS = 3


def pgbouncer() -> configparser.ConfigParser:
    ini = configparser.ConfigParser(comment_prefixes=(";",), delimiters=("=",))
    ini.read_string((REPOSITORY_DIR / "ops/pgbouncer/pgbouncer.ini").read_text())
    return ini


def limits() -> dict[str, int]:
    found = re.findall(r"ALTER ROLE (\w+) LOGIN CONNECTION LIMIT (\d+);", ROLES)
    return {role: int(limit) for role, limit in found}


def test_every_role_that_logs_in_has_a_limit_and_all_of_them_fit_the_server() -> None:
    most = re.search(r"(?m)^max_connections = (\d+)$", CONF)
    assert most
    assert set(limits()) == set(LOGIN_ROLES)
    assert sum(limits().values()) + RESERVED_FOR_SUPERUSERS <= int(most[1])


def test_two_poolers_side_by_side_stay_within_the_limits_of_the_roles() -> None:
    users = dict(pgbouncer()["users"])
    assert set(users) == {"app_write", "app_read"}
    for role, settings in users.items():
        most = int(settings.removeprefix("max_user_connections="))
        assert POOLERS_AT_A_TIME * most <= limits()[role]


def test_the_pooler_pools_transactions_and_follows_prepared_statements() -> None:
    settings = pgbouncer()["pgbouncer"]
    assert settings["pool_mode"] == "transaction"
    # asyncpg and psycopg each keep up to 100.
    assert int(settings["max_prepared_statements"]) >= 100
    assert settings["auth_type"] == "scram-sha-256"
    assert settings["admin_users"] == settings["stats_users"] == ""
    assert int(settings["listen_port"]) == 6432


def test_the_user_list_in_the_repository_holds_no_user() -> None:
    lines = Path(REPOSITORY_DIR / "ops/pgbouncer/userlist.txt").read_text().splitlines()
    assert [line for line in lines if line.strip() and not line.startswith(";")] == []
