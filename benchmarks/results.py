"""What a run measured: one cell per server, regime and repeat, and the medians over the repeats. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Cell:
    """One regime run against one server, once."""

    server: str
    regime: str
    metrics: Mapping[str, float]


@dataclass(slots=True)
class Results:
    """Everything a report is made of.

    `absent` says, per server, what is not installed; `broken` which cells could not be measured; `failed` which answers
    went wrong in cells that could.
    """

    facts: Mapping[str, str]
    cells: list[Cell] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def value(self, server: str, regime: str, metric: str) -> float | None:
        """Return the median of a metric over the repeats; None if it was not measured."""
        values = [
            cell.metrics[metric]
            for cell in self.cells
            if cell.server == server and cell.regime == regime and metric in cell.metrics
        ]
        return median(values) if values else None

    def ready_s(self, server: str) -> float | None:
        """Return the median time to the first answer over all starts of a server."""
        values = [cell.metrics["ready_s"] for cell in self.cells if cell.server == server]
        return median(values) if values else None

    def metrics_of(self, regime: str) -> list[str]:
        """Return the metrics of a regime in the order measured."""
        names = {name: None for cell in self.cells if cell.regime == regime for name in cell.metrics}
        return [name for name in names if name != "ready_s"]

    def as_json(self) -> dict[str, Any]:
        """Return all cells as plain values."""
        return {
            "facts": dict(self.facts),
            "cells": [{"server": c.server, "regime": c.regime, "metrics": dict(c.metrics)} for c in self.cells],
            "absent": self.absent,
            "broken": self.broken,
            "failed": self.failed,
        }
