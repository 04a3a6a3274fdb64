"""The models of a project, the trainings that made them, and which was live when.

Rows are only added, except that the end of a training completes its row. Knows nothing of weights or processes.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from annotator.errors import ConfigError
from annotator.json_types import JsonObject
from annotator.storage.correction_log import NOT_LOOKED_AT
from annotator.storage.database import Store
from annotator.storage.queries import Cursor, utc_now

_IS_CORRECTED = f"is_saved AND image_id NOT IN ({NOT_LOOKED_AT})"
"""SQL over annotations: whether a model may learn from the list."""


@dataclass(frozen=True)
class Run:
    """One training."""

    run_id: int
    cause: str
    """button, corrections, interval, command, or submitted: a checkpoint that was trained elsewhere is tested."""
    user_name: str
    started_at: datetime
    ended_at: datetime | None
    state: str
    """running, promoted, refused, waiting (passed, and is not promoted by itself), cancelled, failed or interrupted."""
    sentence: str
    """The result in words, for the user."""
    base_id: int
    """The model that was live and from which the candidate was trained."""
    newest_event_id: int
    """The newest correction at its start."""
    num_corrections: int
    """Corrections at its start."""
    settings: dict[str, Any]
    report: dict[str, Any] = field(default_factory=dict)
    """Numbers of corrections that were trained on, and the verdict of the promotion test in full."""

    def to_json(self) -> JsonObject:
        """Return the training as JSON values, without settings and report."""
        return {
            "run_id": self.run_id,
            "cause": self.cause,
            "user": self.user_name,
            "started_at": f"{self.started_at.isoformat(timespec='seconds')}Z",
            "ended_at": f"{self.ended_at.isoformat(timespec='seconds')}Z" if self.ended_at else None,
            "state": self.state,
            "sentence": self.sentence,
            "num_corrections": self.num_corrections,
        }


@dataclass(frozen=True)
class Model:
    """One model of the project, live or not."""

    model_id: int
    name: str
    """Value in the settings, see proposals/tagger_catalog.py."""
    tagger: str
    """Registry name and version, as in events."""
    parent_id: int | None
    """The model from which it was trained."""
    run_id: int | None
    """The training that made it; None for other models."""
    created_at: datetime

    def to_json(self, runs: Sequence[Run], label: str, *, is_live: bool) -> JsonObject:
        """Return the model as JSON values, with the results of the training that made it.

        Args:
            runs: Among them, if it is known, the training.
            label: The model's name for the user.
            is_live: Whether it proposes tags.
        """
        run = next((run for run in runs if run.run_id == self.run_id), None)
        report = run.report if run else {}
        figures = (report.get("verdict") or {}).get("candidate") or {}
        return {
            "model_id": self.model_id,
            "name": self.name,
            "tagger": self.tagger,
            "parent_id": self.parent_id,
            "run_id": self.run_id,
            "created_at": f"{self.created_at.isoformat(timespec='seconds')}Z",
            "num_fresh": report.get("num_fresh"),
            "num_replayed": report.get("num_replayed"),
            "new_tags": report.get("new_tags", []),
            "actions_per_photo": figures.get("actions_per_photo"),
            "ndcg": figures.get("ndcg"),
            "verdict": run.sentence if run else "",
            "label": label,
            "is_live": is_live,
        }


@dataclass(frozen=True)
class Change:
    """A model went live."""

    change_id: int
    model_id: int
    changed_at: datetime
    user_name: str
    reason: str


class ModelRegistry:
    """Models, runs and changes of one project.

    Args:
        store: The open database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()

    def models(self) -> list[Model]:
        """Return every model, oldest first."""
        rows = self._store.rows(
            "SELECT model_id, name, tagger, parent_id, run_id, created_at FROM models ORDER BY model_id"
        )
        return [Model(*row) for row in rows]

    def find(self, name: str) -> Model | None:
        """Return the model with a name; None if there is none."""
        return next((model for model in self.models() if model.name == name), None)

    def model(self, model_id: int) -> Model:
        """Return a model by its number.

        Raises:
            ConfigError: There is none.
        """
        models = {model.model_id: model for model in self.models()}
        if model_id not in models:
            known = ", ".join(map(str, models)) or "none yet"
            raise ConfigError(f"This project has no model {model_id}. Its models: {known}.")
        return models[model_id]

    def adopt(self, name: str, tagger: str) -> Model:
        """Return the model with a name, after registering it if it is new."""
        with self._lock:
            found = self.find(name)
            if found is None:
                with self._store.transaction() as cursor:
                    _insert_model(cursor, name, tagger, None, None)
                found = self.find(name)
                assert found is not None
            return found

    def runs(self, limit: int = 100) -> list[Run]:
        """Return the newest trainings, newest first."""
        rows = self._store.rows(
            "SELECT run_id, cause, user_name, started_at, ended_at, state, sentence, base_id, newest_event_id, "
            "num_corrections, CAST(settings AS VARCHAR), CAST(coalesce(report, '{}') AS VARCHAR) "
            "FROM training_runs ORDER BY run_id DESC LIMIT ?",
            [limit],
        )
        return [Run(*row[:-2], *map(json.loads, row[-2:])) for row in rows]

    def begin_run(
        self,
        cause: str,
        user_name: str,
        base_id: int,
        newest_event_id: int,
        num_corrections: int,
        settings: Mapping[str, Any],
    ) -> int:
        """Record that a training starts; return its number."""
        with self._lock, self._store.transaction() as cursor:
            run_id = _next(cursor, "run_id", "training_runs")
            cursor.execute(
                "INSERT INTO training_runs VALUES (?, ?, ?, ?, NULL, 'running', '', ?, ?, ?, ?, NULL)",
                [run_id, cause, user_name, utc_now(), base_id, newest_event_id, num_corrections, json.dumps(settings)],
            )
        return run_id

    def end_run(self, run_id: int, state: str, sentence: str, report: Mapping[str, Any] | None = None) -> None:
        """Record the end of a training that made no model."""
        with self._lock, self._store.transaction() as cursor:
            _end_run(cursor, run_id, state, sentence, report or {})

    def end_run_with_model(
        self,
        run_id: int,
        state: str,
        sentence: str,
        report: Mapping[str, Any],
        *,
        name: str,
        tagger: str,
        parent_id: int,
    ) -> int:
        """Record the end of a training and its model in one transaction; return the model's number."""
        with self._lock, self._store.transaction() as cursor:
            _end_run(cursor, run_id, state, sentence, report)
            return _insert_model(cursor, name, tagger, parent_id, run_id)

    def end_interrupted(self) -> list[int]:
        """Mark all runs that are recorded as running as interrupted; return their numbers."""
        with self._lock:
            rows = self._store.rows("SELECT run_id FROM training_runs WHERE state = 'running'")
            if rows:
                with self._store.transaction() as cursor:
                    for (run_id,) in rows:
                        _end_run(
                            cursor, run_id, "interrupted",
                            "The server ended while the model was learning; the model in use did not change.", {},
                        )  # fmt: skip
            return [int(row[0]) for row in rows]

    def num_runs(self) -> dict[str, int]:
        """Return the number of trainings by their state."""
        return dict(self._store.rows("SELECT state, count(*) FROM training_runs GROUP BY state"))

    def changes(self) -> list[Change]:
        """Return the changes of the live model, oldest first."""
        rows = self._store.rows(
            "SELECT change_id, model_id, changed_at, user_name, reason FROM model_changes ORDER BY change_id"
        )
        return [Change(*row) for row in rows]

    def note_live(self, model_id: int, user_name: str, reason: str) -> None:
        """Record that a model went live, unless it is live already."""
        with self._lock:
            changes = self.changes()
            if changes and changes[-1].model_id == model_id:
                return
            with self._store.transaction() as cursor:
                change_id = _next(cursor, "change_id", "model_changes")
                cursor.execute(
                    "INSERT INTO model_changes VALUES (?, ?, ?, ?, ?)",
                    [change_id, model_id, utc_now(), user_name, reason],
                )

    def newest_event_id(self) -> int:
        """Return the event id of the newest present correction, 0 without any."""
        return int(self._store.rows(f"SELECT coalesce(max(event_id), 0) FROM annotations WHERE {_IS_CORRECTED}")[0][0])

    def newest_trained_event_id(self) -> int:
        """Return the event id of the newest correction at the start of a training that was not interrupted, or 0."""
        rows = self._store.rows(
            "SELECT coalesce(max(newest_event_id), 0) FROM training_runs WHERE state <> 'interrupted'"
        )
        return int(rows[0][0])

    def num_corrections_since(self, event_id: int) -> int:
        """Return the number of photos that were corrected after an event."""
        rows = self._store.rows(f"SELECT count(*) FROM annotations WHERE event_id > ? AND {_IS_CORRECTED}", [event_id])
        return int(rows[0][0])


def _next(cursor: Cursor, column: str, table: str) -> int:
    row = cursor.execute(f"SELECT coalesce(max({column}), 0) + 1 FROM {table}").fetchone()
    assert row is not None  # an aggregate has one row
    return int(row[0])


def _insert_model(cursor: Cursor, name: str, tagger: str, parent_id: int | None, run_id: int | None) -> int:
    model_id = _next(cursor, "model_id", "models")
    cursor.execute(
        "INSERT INTO models VALUES (?, ?, ?, ?, ?, ?)", [model_id, name, tagger, parent_id, run_id, utc_now()]
    )
    return model_id


def _end_run(cursor: Cursor, run_id: int, state: str, sentence: str, report: Mapping[str, Any]) -> None:
    cursor.execute(
        "UPDATE training_runs SET state = ?, sentence = ?, report = ?, ended_at = ? WHERE run_id = ?",
        [state, sentence, json.dumps(report), utc_now(), run_id],
    )
