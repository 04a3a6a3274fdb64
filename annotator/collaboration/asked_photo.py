"""One photo that several people are asked about: who may respond, whose response counts, what a reviewer sent back."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

AskedState = Literal["waiting", "in_review", "accepted"]
"""Of a photo that several people are asked about: responses are outstanding, a reviewer decides, a list is accepted."""


@dataclass(frozen=True)
class Note:
    """Why a reviewer sent a photo back."""

    user_name: str
    """The reviewer."""
    text: str
    sent_at: datetime


@dataclass
class AskedPhoto:
    """One photo that several people are asked about."""

    num_people: int
    people: tuple[str, ...]
    """Who may respond; empty: anybody."""
    revisions: dict[str, int] = field(default_factory=dict)
    """The newest revision of each person's response."""
    responded: set[str] = field(default_factory=set)
    """People with a response that was not taken back."""
    sent_back: dict[str, Note] = field(default_factory=dict)
    is_accepted: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether there are as many responses as were asked for."""
        return len(self.responded) >= self.num_people

    @property
    def num_wanted(self) -> int:
        """How many responses are outstanding."""
        return 0 if self.is_accepted else max(0, self.num_people - len(self.responded)) + len(self.sent_back)

    @property
    def state(self) -> AskedState:
        """Whether responses are outstanding, a reviewer decides, or a list is accepted."""
        if self.is_accepted:
            return "accepted"
        return "in_review" if self.is_complete and not self.sent_back else "waiting"

    def is_open_to(self, user: str) -> bool:
        """Whether this person's response is wanted."""
        if self.is_accepted:
            return False
        if user in self.sent_back:
            return True
        return user not in self.responded and not self.is_complete and (not self.people or user in self.people)
