# SPDX-License-Identifier: AGPL-3.0-or-later
"""Proof of the record for those who do not trust us: the Merkle log, signed checkpoints, bundles and their verifier."""
