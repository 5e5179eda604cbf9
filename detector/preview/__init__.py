# SPDX-License-Identifier: AGPL-3.0-or-later
"""The box's own page: what it sees and thinks now, its masks, its health and its figures."""
