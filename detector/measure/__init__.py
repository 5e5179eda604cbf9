# SPDX-License-Identifier: AGPL-3.0-or-later
"""Figures of a model and of the whole way to a sighting, on pictures given."""
