"""The type of a JSON object, as the page, the routes and the commands exchange it."""

from typing import Any

JsonObject = dict[str, Any]
