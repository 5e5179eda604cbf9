# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a camera's interval, burst and patrol can keep one minute."""
