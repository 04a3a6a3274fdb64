"""How errors are told to programs: their kinds, HTTP statuses and JSON."""

from collections.abc import Iterator

import pytest

from annotator.cli.proven_connection import WrongServerError
from annotator.cli.whole_answer import CutAnswerError
from annotator.client import ServerError
from annotator.errors import AnnotatorError, LeaseError, StaleRevisionError, TagError
from annotator.maintenance.shipped import DamagedPieceError
from annotator.maintenance.snapshots import SnapshotChangedError
from annotator.session.serializers import error_answer
from annotator.storage.correction_log import NothingToUndoError
from annotator.trainer.finetuning.finetune import TrainingCancelledError

KINDS = {
    "AccountError": ("account", 422),
    "AnswerError": ("request", 400),
    "BackboneError": ("request", 400),
    "BackupError": ("request", 400),
    "CheckpointError": ("config", 422),
    "ConfigError": ("config", 422),
    "CutAnswerError": ("request", 400),
    "DamagedPieceError": ("request", 400),
    "DataError": ("request", 400),
    "DemoError": ("demo", 429),
    "DetectorError": ("request", 400),
    "EndpointError": ("request", 400),
    "FeatureMismatchError": ("request", 400),
    "ForbiddenError": ("forbidden", 403),
    "LeaseError": ("leased", 423),
    "LoginError": ("login", 401),
    "NoSuchChangeError": ("request", 400),
    "NothingToUndoError": ("request", 400),
    "ProjectError": ("store", 507),
    "RemoteError": ("request", 400),
    "RetrievalError": ("request", 400),
    "ReviewError": ("review", 409),
    "ServerError": ("request", 400),
    "ShardError": ("request", 400),
    "SnapshotChangedError": ("request", 400),
    "StaleRevisionError": ("stale", 409),
    "StoreError": ("store", 507),
    "TagError": ("tag", 422),
    "TrainingCancelledError": ("training", 409),
    "TrainingError": ("training", 409),
    "UnknownImageError": ("unknown_image", 404),
    "UnreadableImageError": ("request", 400),
    "WordVectorError": ("request", 400),
    "WrongServerError": ("request", 400),
}


def subclasses(base: type[AnnotatorError]) -> Iterator[type[AnnotatorError]]:
    for found in base.__subclasses__():
        yield found
        yield from subclasses(found)


def test_every_error_has_the_kind_and_the_status_that_the_page_and_programs_know() -> None:
    ours = {found for found in subclasses(AnnotatorError) if found.__module__.startswith("annotator.")}
    imported = {
        CutAnswerError, DamagedPieceError, ServerError, SnapshotChangedError, TrainingCancelledError, WrongServerError,
    }  # fmt: skip
    assert ours >= imported
    assert {found.__name__: (found.kind, found.status) for found in ours} == KINDS
    status_of = {found.kind: found.status for found in ours}
    assert all(status_of[found.kind] == found.status for found in ours), "one kind has one status"


@pytest.mark.parametrize("error", [AnnotatorError("No."), NothingToUndoError("No."), TagError("No.")], ids=str)
def test_an_error_without_details_has_a_kind_and_a_message(error: AnnotatorError) -> None:
    assert error_answer(error) == {"error": {"kind": error.kind, "message": "No."}}


def test_the_error_of_a_stale_revision_contains_the_saved_list() -> None:
    error = StaleRevisionError("Too late.", revision=3, tags=["cat"], user="anna", saved_at="2026-01-01T00:00:00Z")
    details = {"revision": 3, "tags": ["cat"], "user": "anna", "saved_at": "2026-01-01T00:00:00Z"}
    assert error_answer(error) == {"error": {"kind": "stale", "message": "Too late.", **details}}


def test_a_lease_names_its_holders_in_the_message_only() -> None:
    answer = error_answer(LeaseError(["anna", "ben"]))
    message = "anna and ben have this photo open. Nothing was changed; try again when they are done."
    assert answer == {"error": {"kind": "leased", "message": message}}
