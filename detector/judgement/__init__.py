# SPDX-License-Identifier: AGPL-3.0-or-later
"""From detections to a sighting: confirmation, masks, places of false alarms, first visible smoke."""
