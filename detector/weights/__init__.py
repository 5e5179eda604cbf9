# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipped model and its card (docs/model-card.md); a package only so that the files are installed."""
