# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people call a place."""

from __future__ import annotations

from dataclasses import dataclass

# How the register of divisions ends names, and what remains of it in speech: 荞麦坞村委会 is 荞麦坞村.
_COMMITTEES = (("村民委员会", "村"), ("村委会", "村"), ("居民委员会", ""), ("居委会", ""))


@dataclass(frozen=True, slots=True)
class PlaceName:
    """County, township, village and, where that is divided, its grid by name; None until they are known."""

    county: str
    township: str | None = None
    village: str | None = None
    grid: str | None = None

    @property
    def full(self) -> str:
        """柯城区 石梁镇 某村."""
        return " ".join(part for part in (self.county, self.township, self.village, self.grid) if part)

    @property
    def nearest(self) -> str:
        """The most exact name there is; a grid's with its village's, for alone it is often a number."""
        if self.grid is not None:
            return grid_name(self.grid, self.village)
        return self.village or self.township or self.county


def grid_name(name: str, village: str | None) -> str:
    """What people call a grid: a number means nothing without its village."""
    return f"{village_name(village)} {name}" if village else name


def village_name(name: str) -> str:
    """What people call a village or community: the register's name without its committee. Other names stay."""
    for ending, tail in _COMMITTEES:
        if name.endswith(ending) and len(name) > len(ending):
            stem = name.removesuffix(ending)
            return stem if stem.endswith(tail) else stem + tail
    return name
