"""One photo that is asked of several people: who may respond, whose response stands, what a reviewer sent back."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Standing = Literal["waiting", "in_review", "accepted"]


@dataclass(frozen=True)
class Note:
    """Why a reviewer sent a photo back."""

    user_name: str
    """The reviewer."""
    text: str
    sent_at: datetime


@dataclass
class AskedPhoto:
    """One photo that is asked of several people."""

    num_people: int
    people: tuple[str, ...]
    """Who may answer; empty: anybody."""
    revisions: dict[str, int] = field(default_factory=dict)
    """The newest revision of each person's answer."""
    given: set[str] = field(default_factory=set)
    """Whose answer stands."""
    sent_back: dict[str, Note] = field(default_factory=dict)
    is_accepted: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether as many responses stand as were asked for."""
        return len(self.given) >= self.num_people

    @property
    def num_wanted(self) -> int:
        """How many answers are still outstanding."""
        return 0 if self.is_accepted else max(0, self.num_people - len(self.given)) + len(self.sent_back)

    @property
    def standing(self) -> Standing:
        """Where the photo stands: responses are awaited, a reviewer decides, or a list is accepted."""
        if self.is_accepted:
            return "accepted"
        return "in_review" if self.is_complete and not self.sent_back else "waiting"

    def is_open_to(self, user: str) -> bool:
        """Whether this person's answer is wanted."""
        if self.is_accepted:
            return False
        if user in self.sent_back:
            return True
        return user not in self.given and not self.is_complete and (not self.people or user in self.people)
