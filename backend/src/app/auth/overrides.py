"""What we change about the SDK's recipes: our record first, closed doors, one role a user.

The SDK hands over its implementation object and calls whatever functions it carries afterwards,
also from inside, so replacing a function replaces it everywhere, the dashboard included.
"""

from typing import Any

from starlette.requests import Request
from supertokens_python.recipe.emailpassword.interfaces import APIInterface as PasswordApis
from supertokens_python.recipe.emailpassword.interfaces import RecipeInterface as PasswordRecipe
from supertokens_python.recipe.emailpassword.interfaces import (
    SignInOkResult,
    SignInPostOkResult,
    UpdateEmailOrPasswordOkResult,
    WrongCredentialsError,
)
from supertokens_python.recipe.session.exceptions import TokenTheftError
from supertokens_python.recipe.session.interfaces import RecipeInterface as SessionRecipe
from supertokens_python.recipe.session.recipe import SessionRecipe as Sessions
from supertokens_python.recipe.usermetadata.interfaces import RecipeInterface as MetadataRecipe
from supertokens_python.recipe.usermetadata.recipe import UserMetadataRecipe
from supertokens_python.recipe.userroles.interfaces import RecipeInterface as RoleRecipe
from supertokens_python.recipe.userroles.interfaces import UnknownRoleError
from supertokens_python.recipe.userroles.recipe import UserRolesRecipe

from app.auth.mirror import ROLES, Mirror
from app.auth.signin_limit import SigninLimit, account_key, address_key
from app.core.errors import ValueRefused
from app.core.logging import get_logger

log = get_logger(__name__)

Context = dict[str, Any]
TENANT = "public"
SYSTEM = "system:identity"
DISABLED = "disabled"
EMAIL_LENGTH_MAX = 254
PASSWORD_LENGTH_MAX = 1024


class Overrides:
    """The replaced functions, over one record and one limit."""

    def __init__(self, mirror: Mirror, limit: SigninLimit) -> None:
        self._mirror = mirror
        self._limit = limit

    def sessions(self, original: SessionRecipe) -> SessionRecipe:
        """End a session in our record before it ends in the core; a theft ends it too."""
        refresh, revoke = original.refresh_session, original.revoke_session
        revoke_many = original.revoke_multiple_sessions
        revoke_all = original.revoke_all_sessions_for_user

        async def refresh_session(
            refresh_token: str,
            anti_csrf_token: str | None,
            disable_anti_csrf: bool,
            user_context: Context,
        ) -> Any:
            try:
                return await refresh(
                    refresh_token, anti_csrf_token, disable_anti_csrf, user_context
                )
            except TokenTheftError as theft:
                user_id, handle = theft.user_id, theft.session_handle
                log.warning("token_theft", user_id=user_id, session_handle=handle)
                await self._mirror.session_ended(SYSTEM, user_id, handle)
                await revoke(handle, user_context)
                raise

        async def revoke_session(session_handle: str, user_context: Context) -> bool:
            await self._end(original, session_handle, user_context)
            return await revoke(session_handle, user_context)

        async def revoke_multiple_sessions(
            session_handles: list[str], user_context: Context
        ) -> list[str]:
            for handle in session_handles:
                await self._end(original, handle, user_context)
            return await revoke_many(session_handles, user_context)

        async def revoke_all_sessions_for_user(
            user_id: str,
            revoke_sessions_for_linked_accounts: bool,
            tenant_id: Any,
            revoke_across_all_tenants: bool,
            user_context: Context,
        ) -> list[str]:
            whose = (
                user_id,
                revoke_sessions_for_linked_accounts,
                tenant_id,
                revoke_across_all_tenants,
                user_context,
            )
            for handle in await original.get_all_session_handles_for_user(*whose):
                await self._mirror.session_ended(acting(user_context), user_id, handle)
            return await revoke_all(*whose)

        _replace(
            original,
            refresh_session=refresh_session,
            revoke_session=revoke_session,
            revoke_multiple_sessions=revoke_multiple_sessions,
            revoke_all_sessions_for_user=revoke_all_sessions_for_user,
        )
        return original

    async def _end(self, sessions: SessionRecipe, handle: str, context: Context) -> None:
        session = _session_of(context)
        if session is not None and session.get_handle() == handle:
            user_id: str = session.get_user_id()
        else:
            information = await sessions.get_session_information(handle, context)
            if information is None:
                return
            user_id = information.user_id
        await self._mirror.session_ended(acting(context), user_id, handle)

    def roles(self, original: RoleRecipe) -> RoleRecipe:
        """Keep one role per user, and write it into our record first."""
        add, remove = original.add_role_to_user, original.remove_user_role

        async def add_role_to_user(
            user_id: str, role: str, tenant_id: str, user_context: Context
        ) -> Any:
            if role not in ROLES:
                raise ValueRefused(f"There are the roles {', '.join(ROLES)}.")
            disabled = await _disabled_in_core(user_id, user_context)
            await self._mirror.user_changed(
                acting(user_context), user_id, role=role, disabled=disabled
            )
            added = await add(user_id, role, tenant_id, user_context)
            if isinstance(added, UnknownRoleError):
                await original.create_new_role_or_add_permissions(role, [], user_context)
                added = await add(user_id, role, tenant_id, user_context)
            had = await original.get_roles_for_user(user_id, tenant_id, user_context)
            for other in set(had.roles) - {role}:
                await remove(user_id, other, tenant_id, user_context)
            return added

        async def remove_user_role(
            user_id: str, role: str, tenant_id: str, user_context: Context
        ) -> Any:
            had = await original.get_roles_for_user(user_id, tenant_id, user_context)
            if had.roles == [role]:
                await self._mirror.user_changed(
                    acting(user_context), user_id, role=None, disabled=True
                )
                await _end_all_sessions(user_id, user_context)
            return await remove(user_id, role, tenant_id, user_context)

        _replace(original, add_role_to_user=add_role_to_user, remove_user_role=remove_user_role)
        return original

    def metadata(self, original: MetadataRecipe) -> MetadataRecipe:
        """Disable a user by `disabled` in his metadata; that ends his sessions."""
        update = original.update_user_metadata

        async def update_user_metadata(
            user_id: str, metadata_update: dict[str, Any], user_context: Context
        ) -> Any:
            if DISABLED in metadata_update:
                disabled = metadata_update[DISABLED] is True
                roles = (
                    await UserRolesRecipe.get_instance().recipe_implementation.get_roles_for_user(
                        user_id, TENANT, user_context
                    )
                )
                role = next((role for role in roles.roles if role in ROLES), None)
                await self._mirror.user_changed(
                    acting(user_context), user_id, role=role, disabled=disabled
                )
                if disabled:
                    await _end_all_sessions(user_id, user_context)
            return await update(user_id, metadata_update, user_context)

        _replace(original, update_user_metadata=update_user_metadata)
        return original

    def passwords(self, original: PasswordRecipe) -> PasswordRecipe:
        """End every session of a user whose password changed."""
        update = original.update_email_or_password

        async def update_email_or_password(  # noqa: PLR0917 - the SDK's signature
            recipe_user_id: Any,
            email: str | None,
            password: str | None,
            apply_password_policy: bool | None,
            tenant_id_for_password_policy: str,
            user_context: Context,
        ) -> Any:
            user_id: str = recipe_user_id.get_as_string()
            result = await update(
                recipe_user_id,
                email,
                password,
                apply_password_policy,
                tenant_id_for_password_policy,
                user_context,
            )
            if isinstance(result, UpdateEmailOrPasswordOkResult):
                if password is not None:
                    await _end_all_sessions(user_id, user_context)
                if email is not None:
                    await self._email_changed(user_id, email, user_context)
            return result

        _replace(original, update_email_or_password=update_email_or_password)
        return original

    async def _email_changed(self, user_id: str, email: str, context: Context) -> None:
        role = await _role_in_core(user_id, context)
        if role is not None:
            disabled = await _disabled_in_core(user_id, context)
            await self._mirror.user_changed(
                acting(context), user_id, role=role, disabled=disabled, email=email
            )

    def password_apis(self, original: PasswordApis) -> PasswordApis:
        """Close what strangers need not do, and limit how often they may guess."""
        original.disable_sign_up_post = True
        original.disable_email_exists_get = True
        sign_in = original.sign_in_post

        async def sign_in_post(  # noqa: PLR0917 - the SDK's signature
            form_fields: list[Any],
            tenant_id: str,
            session: Any,
            should_try_linking_with_session_user: bool | None,
            api_options: Any,
            user_context: Context,
        ) -> Any:
            given = {field.id: field.value for field in form_fields}
            email, password = given["email"], given["password"]
            request: Request = api_options.request.request
            host = request.client.host if request.client else None
            keys = address_key(host), account_key(email[:EMAIL_LENGTH_MAX])
            self._limit.take(*keys)
            if not await self._may_enter(api_options, email, password, user_context):
                return WrongCredentialsError()
            # A session that came along is no reason to keep it: signing in begins a new one.
            result = await sign_in(form_fields, tenant_id, None, False, api_options, user_context)
            if isinstance(result, SignInPostOkResult):
                self._limit.give_back(*keys)
            return result

        _replace(original, sign_in_post=sign_in_post)
        return original

    async def _may_enter(
        self, api_options: Any, email: str, password: str, context: Context
    ) -> bool:
        """Check the password before anything else, so that an unknown user takes as long."""
        if len(email) > EMAIL_LENGTH_MAX or len(password) > PASSWORD_LENGTH_MAX:
            return False
        if not (email.isprintable() and email.isascii()):
            return False
        checked = await api_options.recipe_implementation.verify_credentials(
            email, password, TENANT, context
        )
        return isinstance(checked, SignInOkResult) and await self._mirror.may_sign_in(
            checked.user.id
        )


def acting(context: Context) -> str:
    """Name who acts: the user of the session this request came with, else the system."""
    session = _session_of(context)
    return f"user:{session.get_user_id()}" if session is not None else SYSTEM


def _session_of(context: Context) -> Any:
    request = context.get("_default", {}).get("request")
    return getattr(request.request.state, "supertokens", None) if request is not None else None


async def _disabled_in_core(user_id: str, context: Context) -> bool:
    metadata = UserMetadataRecipe.get_instance().recipe_implementation
    kept = await metadata.get_user_metadata(user_id, context)
    return kept.metadata.get(DISABLED) is True


async def _role_in_core(user_id: str, context: Context) -> str | None:
    recipe = UserRolesRecipe.get_instance().recipe_implementation
    had = await recipe.get_roles_for_user(user_id, TENANT, context)
    return next((role for role in had.roles if role in ROLES), None)


async def _end_all_sessions(user_id: str, context: Context) -> None:
    sessions = Sessions.get_instance().recipe_implementation
    await sessions.revoke_all_sessions_for_user(user_id, True, TENANT, True, context)


def _replace(implementation: object, **functions: Any) -> None:
    for name, function in functions.items():
        getattr(implementation, name)  # a renamed function of the SDK must not pass unnoticed
        setattr(implementation, name, function)
