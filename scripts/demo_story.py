"""The story that scripts/demo tells: three nodes, a simulated search on all of them, a real reindex, nothing left."""

import time

from demo_reindex import reindex
from demo_search import search

from taskfan.cluster import Cluster

begun = time.monotonic()
with Cluster(nodes=3) as cluster:
    print(f"# Three nodes, each a process of its own, ready in {time.monotonic() - begun:.2f} s.")
    urls = [node.url for node in cluster.nodes]
    search(*urls)
    reindex(*urls)
print("\n# The cluster is stopped: no process is left.")
