# SPDX-License-Identifier: AGPL-3.0-or-later
"""What time it is, for edge boxes that measure their clocks against ours (docs/wire.md, "Time")."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from server.db import Clock, Database
from server.engine.wire import parse


class TimeQuestion(BaseModel):
    """``edge/<edge>/time``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    v: Literal[1]
    id: Annotated[str, Field(min_length=8, max_length=64)]


def answer(database: Database, clock: Clock, payload: bytes) -> bytes:
    """The reply to one question: when it was received and when it was answered, to the microsecond, by the database's
    clock, which gives T2. Raises Invalid for what is no question."""
    with database.read() as session:
        received = clock.now(session)
        question = parse(TimeQuestion, payload)
        answered = clock.now(session)
    reply = {"v": 1, "id": question.id, "received_at": received.isoformat(), "answered_at": answered.isoformat()}
    return json.dumps(reply).encode()
