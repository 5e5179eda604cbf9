# SPDX-License-Identifier: AGPL-3.0-or-later
"""What runs a model. Each module has `load(path, card, threads) -> Model` and imports its own library."""
