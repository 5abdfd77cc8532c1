"""Makes the first administrator, with a random password that is printed once.

    kubectl --namespace informania exec --stdin deployment/api --container api -- \
      python - EMAIL < ops/k8s/first_admin.py

Runs where the API runs, with its settings and secrets: the user is made by the identity core, his
role is written to our own tables first and audited. A second run for the same address is refused.
"""

import asyncio
import secrets
import sys

from supertokens_python.recipe.emailpassword.asyncio import sign_up
from supertokens_python.recipe.emailpassword.interfaces import SignUpOkResult
from supertokens_python.recipe.userroles.asyncio import (
    add_role_to_user,
    create_new_role_or_add_permissions,
)

from app.auth.supertokens_middleware import init_supertokens
from app.core.settings import get_settings
from app.services.db import Database, create_engine

TENANT, ROLE = "public", "admin"


async def make(email: str) -> str | None:
    """Make the user; return his password, or None when there is one already."""
    settings = get_settings()
    identity = init_supertokens(settings)
    database = Database(create_engine(settings, "app_write"))
    identity.mirror.bind(database)
    await identity.client.start()
    try:
        # A letter and a digit are what the password rules ask for.
        password = f"{secrets.token_urlsafe(18)}a1"
        result = await sign_up(TENANT, email, password)
        if not isinstance(result, SignUpOkResult):
            return None
        await create_new_role_or_add_permissions(ROLE, [])
        await add_role_to_user(TENANT, result.user.id, ROLE)
        return password
    finally:
        await identity.client.close()
        await database.close()


def main(arguments: list[str]) -> int:
    """Make him and print his password; return the exit code."""
    if len(arguments) != 1 or "@" not in arguments[0]:
        sys.stderr.write("usage: first_admin.py EMAIL\n")
        return 2
    password = asyncio.run(make(arguments[0]))
    if password is None:
        sys.stderr.write(f"first_admin: the identity core knows {arguments[0]} already\n")
        return 1
    sys.stdout.write(f"{password}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
