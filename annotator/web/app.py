"""The app of one project's server: REST routes, pictures, accounts, and the page that Gradio mounts at the root.

Knows nothing of ports and processes.
"""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from annotator import __version__
from annotator.auth.accounts import Accounts
from annotator.errors import ConfigError
from annotator.session.operations import OPERATIONS, Dispatcher, ProjectDispatcher
from annotator.session.session import Session
from annotator.settings import ServerConfig
from annotator.web.account_routes import build_account_router
from annotator.web.description import VERSION_PATH, describe
from annotator.web.former_paths import FormerPaths
from annotator.web.label_studio_routes import build_label_studio_router
from annotator.web.observation import Observation
from annotator.web.page_routes import build_page_router
from annotator.web.request_guard import LOOPBACK_HOSTS, RequestGuard, Tokens
from annotator.web.root_path import RootPath
from annotator.web.routes import UPLOAD_PATH, build_router, refuse_malformed

QUEUE_SECONDS = 1.0
"""How often Gradio looks into its queue of events."""


def build_app(session: Session, config: ServerConfig, observation: Observation | None = None) -> FastAPI:
    """Build the app of one open project.

    Args:
        session: The open project.
        config: Host names, limits and prefix.
        observation: Whether it is ready, and its threads for pictures; None: as soon as it answers.
    """
    # Imported here: importing Gradio takes seconds, and only a server needs it.
    from annotator.ui.page import ASSETS_PATH

    workspace, tokens = session.workspace, Tokens(root_path=config.root_path)
    workspace.files.root_path = config.root_path
    authenticator, dispatcher = workspace.authenticator, ProjectDispatcher(session)
    if is_exposed(config):
        authenticator.require_login()
    app = new_app()
    observation = observation or Observation()
    app.include_router(
        build_router(dispatcher, workspace.pictures, ASSETS_PATH, observation.readiness, observation.pools)
    )
    app.include_router(build_label_studio_router(dispatcher))
    app.include_router(build_account_router(workspace.accounts, authenticator, tokens, ASSETS_PATH))
    title = f"{workspace.project.settings.name} - annotator"
    mount_page(app, dispatcher, title, config.max_body_bytes, config.root_path)
    app.add_middleware(
        RequestGuard,
        hosts=[config.host, *config.allowed_hosts],
        max_body_bytes=config.max_body_bytes,
        body_limits={UPLOAD_PATH: config.max_upload_bytes},
        authenticator=authenticator,
        tokens=tokens,
        root_path=config.root_path,
    )
    app.add_middleware(FormerPaths)
    if config.root_path:
        app.add_middleware(RootPath, root_path=config.root_path)
    return app


def new_app() -> FastAPI:
    """Return an app without routes whose answers to malformed calls name the mistake."""
    app = FastAPI(
        title="annotator",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{VERSION_PATH}/openapi.json",
        # FastAPI's own spans and logs hold query strings, in which tags are, and texts of errors; ours are made in
        # web/traces.py. An excluded request is also kept from the app that is mounted.
        telemetry={"auto_configure": False, "exclude": lambda scope: True},
    )
    describe(app)
    app.add_exception_handler(RequestValidationError, refuse_malformed)
    app.add_exception_handler(HTTPException, refuse_malformed)
    return app


def mount_page(app: FastAPI, dispatcher: Dispatcher, title: str, max_file_size: int, root_path: str = "") -> None:
    """Mount the tagging page at an app's root; routes that the app already has take precedence.

    Args:
        app: The app.
        dispatcher: Answers the operations.
        title: The document's title until the page knows its project.
        max_file_size: Of an upload, in bytes.
        root_path: The prefix under which a reverse proxy offers the page.
    """
    import gradio as gr

    from annotator.ui.page import build_page, page_head

    page = build_page(OPERATIONS, title=title, root_path=root_path)
    app.include_router(build_page_router(dispatcher, list(page.blocks)))
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        root_path=root_path or None,
        footer_links=[],
        show_error=False,
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        max_file_size=max_file_size,
        theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        head=page_head(root_path),
    )
    # Gradio looks a thousand times a second whether an event waits in its queue, which the page never uses: that costs
    # 5% of a core.
    page._queue.sleep_when_free = page._queue.progress_update_sleep_when_free = QUEUE_SECONDS


def is_exposed(config: ServerConfig) -> bool:
    """Return whether other machines can reach this server, directly or through a proxy."""
    return config.host not in LOOPBACK_HOSTS or bool(config.trusted_proxies)


def check_exposure(config: ServerConfig, accounts: Accounts) -> None:
    """Refuse to serve a project to other machines while nobody can log in.

    Raises:
        ConfigError: Other machines reach this server, and there is no account to log in with.
    """
    if not is_exposed(config) or accounts.is_usable():
        return
    if accounts.is_needed():
        raise ConfigError(
            "Every account of this project is disabled, so nobody could log in. Enable one first "
            "(annotator users PROJECT enable NAME), or serve on 127.0.0.1."
        )
    where = config.host if config.host not in LOOPBACK_HOSTS else "the proxy"
    raise ConfigError(
        f"Without accounts, anybody who reaches {where} could read and change this project. Make one first "
        "(annotator users PROJECT add NAME --role admin), serve a demo (--demo), or serve on 127.0.0.1."
    )
