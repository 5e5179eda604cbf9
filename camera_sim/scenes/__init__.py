# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scenes shipped with the simulator, as YAML."""
