"""Who is the cluster manager, and how all nodes come to the same cluster state: pure but for `store.py`.

`state.py` is the safety core (terms, votes, accept, commit); `coordinator.py` decides when to do what. A node of
`taskfan.node.membership` feeds it messages and timers, and carries out its effects.
"""
