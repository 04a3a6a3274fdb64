"""Tells other programs of every changed list, by HTTP: signed, in order, again until it was taken.

The form is that of Standard Webhooks (https://www.standardwebhooks.com): the headers ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature``. One request a changed list, in the order of the correction log, and the
next one only after an answer of 2xx; the position is in the database, so that an outage on either side skips nothing
and repeats nothing that was answered. Only a request whose answer got lost on its way is repeated after it was taken;
it has the same ``webhook-id``.

A request goes to the given address alone: redirects are not followed, proxies of the environment are ignored, and the
answer's body is not read. Knows nothing of sessions.
"""

import base64
import binascii
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from annotator.errors import ConfigError, StoreError
from annotator.json_types import JsonObject
from annotator.storage.queries import utc
from annotator.storage.webhooks import ListEvent, Webhook, Webhooks

logger = logging.getLogger(__name__)

MAX_WEBHOOKS = 10
"""Most webhooks of a project; each has a thread."""
MAX_URL = 2_000
TIMEOUT_SECONDS = 10.0
"""Of one request."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 300.0
"""Between two attempts; each wait is twice the one before."""
LOOK_SECONDS = 30.0
"""Longest time until an event is seen that nobody told of."""
EVENTS_AT_ONCE = 100
SECRET_PREFIX = "whsec_"

Post = Callable[[str, bytes, Mapping[str, str]], int]
"""(URL, body, headers) -> status of the answer; raises OSError where there is none."""


def new_secret() -> str:
    """Return a key for signatures, in the form of Standard Webhooks."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``: HMAC-SHA256 over id, time and body.

    Args:
        secret: ``whsec_`` and the key in Base64.
        message_id: Value of ``webhook-id``.
        timestamp: Value of ``webhook-timestamp``, in seconds since 1970.
        body: Of the request.

    Raises:
        ConfigError: The secret has another form.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error as error:
        raise ConfigError("A webhook's secret is whsec_ and a key in Base64.") from error
    content = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def check_url(url: str) -> str:
    """Return an address that can be told of events.

    Raises:
        ConfigError: It is none.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= MAX_URL
    if parts.scheme not in ("http", "https") or not host or not is_plain:
        raise ConfigError(f"{url[:80]!r} is no address of a webhook: it begins with https:// or http://.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ConfigError("A webhook's address holds no user, password or #: requests are signed with its secret.")
    return url


def message_of(webhook: Webhook, event: ListEvent, project: str, file_name: str) -> tuple[str, bytes]:
    """Return the id and the body of the request about an event; the same for every attempt."""
    body = {
        "type": "list.changed",
        "timestamp": utc(event.created_at),
        "data": {
            "project": project,
            "event_id": event.event_id,
            "kind": event.kind,
            "image_id": event.image_id,
            "file_name": file_name,
            "revision": event.revision,
            "tags": list(event.tags),
            "dropped": list(event.dropped),
            "is_saved": event.is_saved,
            "user": event.user_name,
        },
    }
    # The time it was added tells it from an earlier webhook of the same number.
    added = int(webhook.added_at.timestamp())
    return f"msg_{added:x}_{webhook.webhook_id}_{event.event_id}", json.dumps(body, ensure_ascii=False).encode()


def webhook_row(webhooks: Webhooks, webhook: Webhook) -> JsonObject:
    """Return a webhook as JSON values, without its secret."""
    return {
        "webhook_id": webhook.webhook_id,
        "url": webhook.url,
        "added_at": utc(webhook.added_at),
        "num_delivered": webhook.num_delivered,
        "num_waiting": webhooks.num_waiting(webhook.position),
        "problem": webhook.problem,
    }


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send one request and return the status of its answer, whose body is not read.

    Raises:
        OSError: There is no answer.
    """
    import httpx  # takes longer to import than most commands take to start

    try:
        with (
            httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=dict(headers)) as response,
        ):
            return response.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(str(error) or type(error).__name__) from error


class WebhookSender:
    """Tells one address of events, in a thread of its own.

    Args:
        webhooks: The database's part.
        webhook: The address.
        project: Name of the project.
        file_name: Image id -> name of its file, as the webhook is told.
        send: Sends one request.
        first_wait_seconds: After the first failure.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        webhook: Webhook,
        project: str,
        file_name: Callable[[int], str],
        send: Post = post,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
    ) -> None:
        self._webhooks = webhooks
        self._webhook = webhook
        self._project = project
        self._file_name = file_name
        self._send = send
        self._first_wait = first_wait_seconds
        self._condition = threading.Condition()
        self._has_news = True
        self._is_stopping = False
        self._is_idle = False
        name = f"webhook {webhook.webhook_id}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start to send what was not delivered yet."""
        self._thread.start()

    def notify(self) -> None:
        """Say that there may be a new event; returns at once."""
        with self._condition:
            self._has_news = True
            self._condition.notify_all()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until everything is delivered; return whether that is so."""
        with self._condition:
            return self._condition.wait_for(lambda: self._is_idle and not self._has_news, timeout_seconds)

    def stop(self) -> None:
        """End the thread, after the request in hand."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=2 * TIMEOUT_SECONDS)

    def _run(self) -> None:
        wait = self._first_wait
        while True:
            with self._condition:
                if self._is_stopping:
                    return
                self._has_news = False
            try:
                problem = self._deliver()
            except StoreError as error:
                problem = str(error)
            if problem is None:
                wait = self._first_wait
                with self._condition:
                    self._is_idle = True
                    self._condition.notify_all()
                    self._condition.wait_for(lambda: self._has_news or self._is_stopping, LOOK_SECONDS)
                    self._is_idle = False
                continue
            with self._condition:
                self._condition.wait_for(lambda: self._is_stopping, wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _deliver(self) -> str | None:
        """Send everything that waits, in order; return why it stopped, None when nothing waits any more."""
        while events := self._webhooks.events_after(self._webhook.position, EVENTS_AT_ONCE):
            for event in events:
                if self._is_stopping:
                    return None
                problem = self._attempt(event)
                if problem is not None:
                    return problem
        return None

    def _attempt(self, event: ListEvent) -> str | None:
        """Send one event and note the result; return why it was not taken."""
        webhook = self._webhook
        message_id, body = message_of(webhook, event, self._project, self._file_name(event.image_id))
        now = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "annotator",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature(webhook.secret, message_id, now, body),
        }
        try:
            status = self._send(webhook.url, body, headers)
            problem = "" if 200 <= status < 300 else _sentence(status)
        except OSError as error:
            problem = f"It does not answer: {error or type(error).__name__}."
        if not problem:
            self._webhooks.note_delivered(webhook.webhook_id, event.event_id)
            self._webhook = replace(webhook, position=event.event_id, problem="")
            return None
        if problem != webhook.problem:
            logger.warning("The webhook %s is tried again: %s", webhook.url, problem)
            with suppress(StoreError):
                self._webhooks.note_problem(webhook.webhook_id, problem)
            self._webhook = replace(webhook, problem=problem)
        return problem


def _sentence(status: int) -> str:
    if 300 <= status < 400:
        return f"It answers with a redirect (status {status}), which is not followed: add the address it names."
    return f"It answers with status {status}."
