# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pictures of the camera simulator in which every model must see what is there: smoke by day and at dusk, and none."""
