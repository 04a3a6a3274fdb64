"""Login, logout and the administration of accounts: the login page and REST routes.

Knows nothing of how passwords are stored (auth/accounts.py).
"""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from annotator.auth.account_admin import Name, Password, UsersRequest, manage_users
from annotator.auth.accounts import Accounts
from annotator.auth.project_auth import ProjectAuthenticator
from annotator.auth.roles import CALLER, Role
from annotator.errors import AccountError, AnnotatorError, LoginError
from annotator.server_proof import CHALLENGE
from annotator.session.answers import Answer, Done
from annotator.session.requests import Payload
from annotator.web.description import INVALID, VERSION_PATH, errors_at
from annotator.web.request_guard import Tokens, cookie_names, device_token_of, session_id_of


class Login(Payload):
    """A name and a password."""

    name: Name
    password: Password


class LoginAnswer(Answer):
    """Who is logged in."""

    user: str


class User(Answer):
    """An account."""

    name: str
    role: str
    disabled: bool
    created_at: str


class Users(Answer):
    """All accounts."""

    users: list[User]


class EndedSessions(Answer):
    """How many sessions were ended."""

    ended: int


class NewToken(Answer):
    """An API token; it is shown once."""

    token: str


class RevokedTokens(Answer):
    """How many tokens were taken back."""

    revoked: int


def build_account_router(
    accounts: Accounts, authenticator: ProjectAuthenticator, tokens: Tokens, assets_path: Path
) -> APIRouter:
    """Build the routes."""
    router = APIRouter()

    @router.get(
        f"{VERSION_PATH}/proof",
        summary="Prove to a program that can read the project's folder that this is its server",
        operation_id="prove",
        response_class=PlainTextResponse,
        responses=errors_at(400, 421),
        tags=["server"],
    )
    def proof(challenge: str) -> Response:
        if not CHALLENGE.fullmatch(challenge):
            return _error(400, "request", AccountError("A challenge has 64 hexadecimal digits."))
        return PlainTextResponse(authenticator.prove(challenge), headers={"cache-control": "no-store"})

    @router.get("/login", include_in_schema=False)
    def login_page(request: Request) -> Response:
        if authenticator.by_session(session_id_of(request.scope)) is not None:
            return RedirectResponse(tokens.path.rstrip("/") + "/", 303)
        return FileResponse(assets_path / "login.html", headers={"cache-control": "no-store"})

    @router.post(
        f"{VERSION_PATH}/login",
        summary="Log in; the answer's cookies are the session",
        operation_id="login",
        response_model=LoginAnswer,
        responses=errors_at(400, 401, 403, 408, 413, 421, 507),
        tags=["accounts"],
    )
    async def login(request: Request, payload: Login) -> Response:
        address = request.client.host if request.client else ""
        try:
            known = device_token_of(request.scope)
            session_id = await run_in_threadpool(accounts.log_in, payload.name, payload.password, address, known)
            device_token = accounts.device_token(payload.name)
        except LoginError as error:
            return _error(401, "login", error)
        except AnnotatorError as error:
            return _error(507, "store", error)
        # Always a new session id, against session fixation.
        response = JSONResponse({"user": payload.name})
        for value in tokens.cookies(request.scope, session_id, is_new=True):
            response.headers.append("set-cookie", value)
        response.headers.append("set-cookie", tokens.device_cookie(request.scope, device_token))
        return response

    @router.post(
        f"{VERSION_PATH}/logout",
        summary="End this browser's session",
        operation_id="logout",
        response_model=Done,
        responses=errors_at(401, 403, 421),
        tags=["accounts"],
    )
    def logout(request: Request) -> Response:
        accounts.log_out(session_id_of(request.scope))
        response = JSONResponse({})
        for name in cookie_names(request.scope):
            response.headers.append("set-cookie", f"{name}=; Path={tokens.path}; Max-Age=0; SameSite=Strict")
        return response

    @router.post(
        f"{VERSION_PATH}/users",
        summary="List and change accounts; for admins",
        operation_id="users",
        response_model=Users | User | EndedSessions | NewToken | RevokedTokens,
        responses=errors_at(400, 401, 403, 408, 413, 421, 507) | {422: INVALID},
        tags=["accounts"],
    )
    def users(payload: UsersRequest) -> Response:
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


def _error(status: int, kind: str, error: Exception) -> JSONResponse:
    return JSONResponse({"error": {"kind": kind, "message": str(error)}}, status)
