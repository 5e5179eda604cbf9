# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be wrong with a request, said once. ``server.web.errors`` maps these to HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.domain.lifecycle import Event, State


class DomainError(Exception):
    """A rule refused the request. ``code`` is stable for programs, ``str()`` is for people (English);
    screens translate by the code."""

    code = "refused"


class NotAllowedNow(DomainError):
    """The transition table has no such step from this state."""

    code = "not_allowed_now"

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"an incident that is {state.value!r} cannot take {event.value!r}")
        self.state = state
        self.event = event


class AlreadyAnswered(DomainError):
    """Somebody accepted before; ``themselves``: who answers now did, perhaps another way."""

    code = "already_answered"

    def __init__(self, text: str, *, themselves: bool = False) -> None:
        super().__init__(text)
        self.themselves = themselves


class NotConcerned(DomainError):
    """The person does not answer for this place and was not called."""

    code = "not_concerned"


class NotPermitted(DomainError):
    """The person's role does not include this step."""

    code = "not_permitted"


class Missing(DomainError):
    """Something named does not exist (or is outside the person's area, which reads the same)."""

    code = "missing"


class Invalid(DomainError):
    """The content of the request makes no sense; the sentence says what."""

    code = "invalid"


class TooLate(DomainError):
    """An undo after its time."""

    code = "too_late"
