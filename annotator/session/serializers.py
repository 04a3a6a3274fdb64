"""JSON values of errors, places and proposals, the same for the page, the routes and the commands."""

from annotator.errors import AnnotatorError
from annotator.json_types import JsonObject
from annotator.proposals.fusion import Proposal
from annotator.storage.images import ImageEntry


def error_answer(error: AnnotatorError) -> JsonObject:
    """Return a known error as an answer."""
    return {"error": {"kind": error.kind, "message": str(error), **error.details()}}


def place_of(entry: ImageEntry) -> str | None:
    """Return the coordinates at which a photo was taken, as the page shows them; None if unknown."""
    if entry.latitude is None or entry.longitude is None:
        return None
    return f"{entry.latitude:.4f}, {entry.longitude:.4f}"


def form_of(proposal: Proposal) -> JsonObject:
    """Return a proposal with its evidence."""
    return {
        "tag": proposal.tag,
        "score": round(proposal.score, 4),
        "source": proposal.source,
        "why": proposal.why,
        "evidence": [
            {
                "source": item.source,
                "score": round(item.score, 4),
                "text": item.text,
            }
            for item in proposal.evidence
        ],
    }
