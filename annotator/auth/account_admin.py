"""Actions of admins on accounts, by REST or on the command line. Knows nothing of HTTP or password hashes."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from annotator.auth.accounts import Accounts, user_row
from annotator.errors import AccountError

Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Password = Annotated[str, StringConstraints(max_length=2_000)]


class UsersRequest(BaseModel):
    """An action on accounts; which fields are needed depends on ``do``."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    do: Literal["list", "add", "disable", "enable", "password", "role", "end_sessions", "token", "revoke_tokens"]
    name: Name | None = None
    role: Name | None = None
    password: Password | None = None
    days: Annotated[int, Field(ge=1, le=3650)] = 90


def manage_users(accounts: Accounts, request: UsersRequest) -> dict[str, Any]:
    """Run an action of an admin on accounts.

    Raises:
        AccountError: The action is not possible, or a field is missing.
    """
    if request.do == "list":
        return {"users": [user_row(user) for user in accounts.users()]}
    name = _needed(request, "name")
    actions: dict[str, Callable[[], dict[str, Any]]] = {
        "add": lambda: user_row(accounts.add(name, _needed(request, "role"), _needed(request, "password"))),
        "disable": lambda: user_row(accounts.set_disabled(name, True)),
        "enable": lambda: user_row(accounts.set_disabled(name, False)),
        "role": lambda: user_row(accounts.set_role(name, _needed(request, "role"))),
        "password": lambda: user_row(accounts.set_password(name, _needed(request, "password"))),
        "end_sessions": lambda: {"ended": accounts.end_sessions(name)},
        "token": lambda: {"token": accounts.add_token(name, _needed(request, "role"), request.days)},
        "revoke_tokens": lambda: {"revoked": accounts.revoke_tokens(name)},
    }
    return actions[request.do]()


def _needed(request: UsersRequest, field: str) -> str:
    value = getattr(request, field)
    if value is None:
        raise AccountError(f"To {request.do} a user, the field {field!r} is needed.")
    return str(value)
