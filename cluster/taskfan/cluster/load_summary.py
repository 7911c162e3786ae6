"""What came of a load: counted while it runs, and shown as a table or as JSON. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import msgspec

from taskfan.cluster.cli_output import table


class KindCount(msgspec.Struct):
    """Of one kind of work. `not_sent` were due while as many as may be were in flight."""

    latencies_ms: array[float] = msgspec.field(default_factory=lambda: array("f"))
    errors: int = 0
    not_sent: int = 0
    first_error: str = ""

    def add(self, latency_ms: float, error: str) -> None:
        """Count one that was answered, or failed when `error` says why."""
        self.latencies_ms.append(latency_ms)
        self.errors += bool(error)
        self.first_error = self.first_error or error

    def quantile_ms(self, share: float) -> float:
        """So many of them took at most this long; 0 if there were none."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


class Summary(msgspec.Struct):
    """Of a whole load. Latencies run from when an operation was due until its answer was read."""

    seed: int
    kinds: dict[str, KindCount]
    took_s: float = 0.0

    @classmethod
    def of(cls, kinds: Iterable[str], seed: int) -> Summary:
        """One that counts nothing yet."""
        return cls(seed, {kind: KindCount() for kind in kinds})

    @property
    def done(self) -> int:
        """How many were answered or failed."""
        return sum(len(kind.latencies_ms) for kind in self.kinds.values())

    @property
    def errors(self) -> int:
        """How many failed."""
        return sum(kind.errors for kind in self.kinds.values())

    def to_object(self) -> dict[str, Any]:
        """For programs."""
        return {
            "seed": self.seed,
            "took_s": round(self.took_s, 3),
            "kinds": {
                name: {
                    "count": len(kind.latencies_ms),
                    "errors": kind.errors,
                    "not_sent": kind.not_sent,
                    "per_second": round(len(kind.latencies_ms) / self.took_s, 3) if self.took_s else 0.0,
                    "p50_ms": round(kind.quantile_ms(0.5), 3),
                    "p99_ms": round(kind.quantile_ms(0.99), 3),
                    **({"first_error": kind.first_error} if kind.first_error else {}),
                }
                for name, kind in self.kinds.items()
            },
        }

    def to_text(self) -> str:
        """For people: a line for each kind, and the first error of each."""
        rows = []
        for name, shown in self.to_object()["kinds"].items():
            numbers = (shown["count"], shown["errors"], shown["not_sent"])
            spread = (f"{shown['per_second']:.1f}", f"{shown['p50_ms']:.1f}", f"{shown['p99_ms']:.1f}")
            rows.append((name, *map(str, numbers), *spread))
        lines = [table(("KIND", "COUNT", "ERRORS", "NOT SENT", "RATE/S", "P50 MS", "P99 MS"), rows)]
        lines += [f"First error of {name}: {kind.first_error}" for name, kind in self.kinds.items() if kind.first_error]
        return "\n".join([*lines, f"In {self.took_s:.1f} s, seed {self.seed}."])
