# SPDX-License-Identifier: AGPL-3.0-or-later
"""The outbox's SQL: what is due in which order, what is kept, and what goes when space runs out."""

from __future__ import annotations

from detector.wire import Part

WAITING = """
SELECT id, 'sighting', stored_at, length(body), parked, 0 AS later, seq FROM messages
UNION ALL
SELECT id, 'onset', stored_at, length(body), parked, 1 AS later, seq FROM onsets
UNION ALL
SELECT id, 'coverage', stored_at, length(body), parked, 2 AS later, seq FROM coverage WHERE whole
UNION ALL
SELECT id, 'picture', stored_at, size, parked, 3 AS later, seq FROM pictures
ORDER BY later, seq
"""
_DUE_MESSAGES = "SELECT id FROM messages WHERE parked IS NULL ORDER BY seq LIMIT ?"
_DUE_ONSETS = """
SELECT id FROM onsets WHERE parked IS NULL AND sighting NOT IN (SELECT id FROM messages) ORDER BY seq LIMIT ?
"""
_DUE_COVERAGE = "SELECT id FROM coverage WHERE whole AND parked IS NULL ORDER BY seq LIMIT ?"
PUT_MESSAGE = "INSERT OR IGNORE INTO messages (id, stored_at, body) VALUES (?, ?, ?)"
PUT_ONSET = "INSERT OR IGNORE INTO onsets (id, sighting, stored_at, body) VALUES (?, ?, ?, ?)"
PUT_COVERAGE = """
INSERT INTO coverage (id, stored_at, whole, body) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET stored_at = excluded.stored_at, whole = excluded.whole, body = excluded.body
"""
FORGET_COVERAGE = "DELETE FROM coverage WHERE seq <= (SELECT max(seq) FROM coverage) - ?"
# A picture's id begins with that of the message which announces it, 36 characters.
_DUE_PICTURES = """
SELECT id FROM pictures WHERE parked IS NULL
    AND substr(id, 1, 36) NOT IN (SELECT id FROM messages UNION ALL SELECT id FROM onsets) ORDER BY seq LIMIT ?
"""
OLDEST_PICTURE = "SELECT id, size FROM pictures ORDER BY parked IS NULL, seq LIMIT 1"
FORGET_PARKED = """
DELETE FROM messages WHERE parked IS NOT NULL AND seq NOT IN
    (SELECT seq FROM messages WHERE parked IS NOT NULL ORDER BY seq DESC LIMIT ?)
"""
FORGET_PARKED_ONSETS = FORGET_PARKED.replace("messages", "onsets")
PARK_PICTURES = """
UPDATE pictures SET parked = ? WHERE parked IS NULL AND (
    id = ? OR substr(id, 1, 36) = ? OR substr(id, 1, 36) IN (SELECT id FROM onsets WHERE parked IS NOT NULL)
)
"""
BODY: dict[Part, str] = {
    "sighting": "SELECT body FROM messages WHERE id = ?",
    "onset": "SELECT body FROM onsets WHERE id = ?",
    "coverage": "SELECT body FROM coverage WHERE id = ?",
}
DELETE: dict[Part, str] = {
    "sighting": "DELETE FROM messages WHERE id = ?",
    "onset": "DELETE FROM onsets WHERE id = ?",
    "coverage": "DELETE FROM coverage WHERE id = ?",
    "picture": "DELETE FROM pictures WHERE id = ?",
}


DUE: dict[Part, str] = {
    "sighting": _DUE_MESSAGES,
    "onset": _DUE_ONSETS,
    "coverage": _DUE_COVERAGE,
    "picture": _DUE_PICTURES,
}
