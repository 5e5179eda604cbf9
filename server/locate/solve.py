# SPDX-License-Identifier: AGPL-3.0-or-later
"""Least squares for a handful of unknowns: Gauss–Newton with Levenberg's and Marquardt's damping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from server.locate.ground import Array

_TRIES = 50


@dataclass(frozen=True, slots=True)
class Solved:
    """The best point, the sum of squares there, the unknowns' covariance (for residuals in standard deviations), and
    the slopes' condition number (unknowns in units of ``step``)."""

    at: Array
    misfit: float
    covariance: Array
    condition: float


def least_squares(residuals: Callable[[Array], Array], start: Array, *, step: ArrayLike) -> Solved | None:
    """Minimise the sum of squared residuals. ``step``: the difference by which each unknown's slope is taken; the
    search ends when none moves by a hundredth of it. None when the unknowns cannot be told apart or nothing fits."""
    sizes = np.broadcast_to(np.asarray(step, np.float64), start.shape)
    at, found, damping = start.astype(np.float64), residuals(start), 1e-3
    for _ in range(_TRIES):
        slope = _slopes(residuals, at, sizes)
        normal = slope.T @ slope
        if not np.isfinite(normal).all() or not normal.diagonal().all():
            return None
        move = np.linalg.solve(normal + damping * np.diag(normal.diagonal()), -slope.T @ found)
        tried = residuals(at + move)
        if tried @ tried <= found @ found:
            at, found, damping = at + move, tried, damping / 5
        else:
            damping *= 10
        if (np.abs(move) < sizes / 100).all() or damping > 1e9:
            break
    slope = _slopes(residuals, at, sizes)
    misfit = float(found @ found)
    if not (np.isfinite(slope).all() and np.isfinite(misfit)) or np.linalg.matrix_rank(slope * sizes) < len(at):
        return None
    covariance = np.asarray(np.linalg.inv(slope.T @ slope), np.float64)
    return Solved(at, misfit, covariance, float(np.linalg.cond(slope * sizes)))


def _slopes(residuals: Callable[[Array], Array], at: Array, sizes: Array) -> Array:
    """The residuals' slopes by each unknown, from differences to both sides."""
    columns = []
    for index, size in enumerate(sizes):
        offset = np.zeros_like(at)
        offset[index] = size
        columns.append((residuals(at + offset) - residuals(at - offset)) / (2 * size))
    return np.column_stack(columns)
