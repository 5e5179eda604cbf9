# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings, masks and models sent from the server: verified, tried, kept or rolled back."""
