"""Logging in and out, and what admins do with accounts and assignments: pages and REST routes.

Knows nothing of how passwords are kept (auth/accounts.py).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from pydantic import Field, StringConstraints

from annotator.auth.accounts import Accounts, user_row
from annotator.auth.roles import CALLER, Authenticator, Role
from annotator.errors import AccountError, AnnotatorError, LoginError
from annotator.session.requests import Payload
from annotator.web.request_guard import Tokens, cookie_names, session_id_of

Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Password = Annotated[str, StringConstraints(max_length=2_000)]


class Login(Payload):
    """A name and a password."""

    name: Name
    password: Password


class Users(Payload):
    """Something to do with accounts; which fields are needed depends on what."""

    do: Literal["list", "add", "disable", "enable", "password", "role", "end_sessions", "token", "revoke_tokens"]
    name: Name | None = None
    role: Name | None = None
    password: Password | None = None
    days: Annotated[int, Field(ge=1, le=3650)] = 90


def build_account_router(
    accounts: Accounts, authenticator: Authenticator, tokens: Tokens, assets_path: Path
) -> APIRouter:
    """Build the routes."""
    router = APIRouter()

    @router.get("/login", include_in_schema=False)
    def login_page(request: Request) -> Response:
        if authenticator.by_session(session_id_of(request.scope)) is not None:
            return RedirectResponse("/", 303)
        return FileResponse(assets_path / "login.html", headers={"cache-control": "no-store"})

    @router.post("/api/login", summary="Log in; the answer's cookies are the session")
    async def login(request: Request, payload: Login) -> Response:
        address = request.client.host if request.client else ""
        try:
            session_id = await run_in_threadpool(accounts.log_in, payload.name, payload.password, address)
        except LoginError as error:
            return _error(401, "login", error)
        except AnnotatorError as error:
            return _error(507, "store", error)
        # Always a new session: one that somebody slipped to this browser before is worth nothing.
        response = JSONResponse({"user": payload.name})
        for value in tokens.cookies(request.scope, session_id, is_new=True):
            response.headers.append("set-cookie", value)
        return response

    @router.post("/api/logout", summary="End this browser's session")
    def logout(request: Request) -> Response:
        accounts.log_out(session_id_of(request.scope))
        response = JSONResponse({})
        for name in cookie_names(request.scope):
            response.headers.append("set-cookie", f"{name}=; Path=/; Max-Age=0; SameSite=Strict")
        return response

    @router.post("/api/users", summary="List and change accounts; for admins")
    def users(payload: Users) -> Response:
        caller = CALLER.get()
        if caller.role < Role.ADMIN:
            return _error(403, "forbidden", AccountError(f"Accounts are for admins; {caller.user} is none."))
        try:
            return JSONResponse(manage_users(accounts, payload))
        except AccountError as error:
            return _error(422, "account", error)
        except AnnotatorError as error:
            return _error(507, "store", error)

    return router


def manage_users(accounts: Accounts, payload: Users) -> dict[str, Any]:
    """Do what an admin asks with accounts.

    Raises:
        AccountError: It cannot be done, or a field is missing.
    """
    if payload.do == "list":
        return {"users": [user_row(user) for user in accounts.users()]}
    name = _needed(payload, "name")
    actions: dict[str, Callable[[], dict[str, Any]]] = {
        "add": lambda: user_row(accounts.add(name, _needed(payload, "role"), _needed(payload, "password"))),
        "disable": lambda: user_row(accounts.set_disabled(name, True)),
        "enable": lambda: user_row(accounts.set_disabled(name, False)),
        "role": lambda: user_row(accounts.set_role(name, _needed(payload, "role"))),
        "password": lambda: user_row(accounts.set_password(name, _needed(payload, "password"))),
        "end_sessions": lambda: {"ended": accounts.end_sessions(name)},
        "token": lambda: {"token": accounts.add_token(name, _needed(payload, "role"), payload.days)},
        "revoke_tokens": lambda: {"revoked": accounts.revoke_tokens(name)},
    }
    return actions[payload.do]()


def _needed(payload: Users, field: str) -> str:
    value = getattr(payload, field)
    if value is None:
        raise AccountError(f"To {payload.do} a user, the field {field!r} is needed.")
    return str(value)


def _error(status: int, kind: str, error: Exception) -> JSONResponse:
    return JSONResponse({"error": {"kind": kind, "message": str(error)}}, status)
