# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a picture shows: the model and what it looks at, light, and whether the camera can see at all."""
