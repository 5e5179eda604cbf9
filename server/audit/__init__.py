# SPDX-License-Identifier: AGPL-3.0-or-later
"""A second, simple look at whether the clock does its work, sharing no code with it: plain SQL over the tables."""
