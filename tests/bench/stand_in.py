"""Clusters whose supervisor is a module of the bench: it changes something, and then is the product's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from unittest import mock

from taskfan.cluster import Cluster, launch
from tests.bench.floor import ROOT


def started_by(supervisor: ModuleType, nodes: int, environment: Mapping[str, str] | None = None) -> Cluster:
    """Start a cluster, with this in the environment of its processes."""
    # Of what a user happens to set there is nothing lost: another checkout may be measured so.
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with (
        mock.patch.object(launch, "_SUPERVISOR", supervisor.__name__),
        mock.patch.dict(os.environ, {**(environment or {}), "PYTHONPATH": path}),
    ):
        return Cluster(nodes=nodes).start()
