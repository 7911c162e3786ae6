"""REST in, fan-out, merge, render. `ACTIONS` are the coordinating actions every member has."""

from __future__ import annotations

from taskfan.coordinator.cancel_tasks import CANCEL_TASKS
from taskfan.coordinator.cluster_health import CLUSTER_HEALTH
from taskfan.coordinator.cluster_state_action import CLUSTER_STATE, MAIN
from taskfan.coordinator.get_task import GET_TASK
from taskfan.coordinator.list_tasks import LIST_TASKS
from taskfan.coordinator.multi_search import MULTI_SEARCH
from taskfan.coordinator.nodes_info import NODES_INFO, NODES_STATS
from taskfan.coordinator.scroll import CLEAR_SCROLL, SCROLL
from taskfan.coordinator.search import SEARCH

ACTIONS = (
    *(LIST_TASKS, GET_TASK, CANCEL_TASKS, CLUSTER_HEALTH, CLUSTER_STATE, MAIN, NODES_INFO, NODES_STATS),
    *(SEARCH, SCROLL, CLEAR_SCROLL, MULTI_SEARCH),
)
