# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where is it: from what cameras saw to a region on the ground with its probability.

``sight`` makes a line of sight with its errors of a box in a picture; ``region`` makes of one or several lines of sight
a region on flat ground or on ``terrain``; ``calibrate`` solves a mount's angles from landmarks, ``zoom`` its field of
view.
"""
