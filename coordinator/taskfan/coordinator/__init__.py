"""REST in, fan-out, merge, render. `ACTIONS` are the coordinating actions every member has."""

from __future__ import annotations

from taskfan.coordinator.broadcast import BROADCAST_ACTIONS
from taskfan.coordinator.bulk import BULK_ACTIONS
from taskfan.coordinator.by_scroll import BY_SCROLL_ACTIONS
from taskfan.coordinator.cancel_tasks import CANCEL_TASKS
from taskfan.coordinator.cluster_health import CLUSTER_HEALTH
from taskfan.coordinator.cluster_settings import UPDATE_CLUSTER_SETTINGS
from taskfan.coordinator.cluster_state_action import CLUSTER_STATE, MAIN
from taskfan.coordinator.get_document import GET_ACTIONS
from taskfan.coordinator.get_task import GET_TASK
from taskfan.coordinator.index_admin import INDEX_ADMIN_ACTIONS
from taskfan.coordinator.index_stats import INDEX_STATS
from taskfan.coordinator.list_tasks import LIST_TASKS
from taskfan.coordinator.multi_search import MULTI_SEARCH
from taskfan.coordinator.nodes_info import NODES_INFO, NODES_STATS
from taskfan.coordinator.rethrottle import RETHROTTLE
from taskfan.coordinator.scroll import CLEAR_SCROLL, SCROLL
from taskfan.coordinator.search import SEARCH
from taskfan.coordinator.update import UPDATE

ACTIONS = (
    *(*INDEX_ADMIN_ACTIONS, *BULK_ACTIONS, UPDATE, *GET_ACTIONS, *BROADCAST_ACTIONS, INDEX_STATS),
    *(LIST_TASKS, GET_TASK, CANCEL_TASKS, CLUSTER_HEALTH, CLUSTER_STATE, MAIN, NODES_INFO, NODES_STATS),
    *(SEARCH, SCROLL, CLEAR_SCROLL, MULTI_SEARCH),
    *(*BY_SCROLL_ACTIONS, RETHROTTLE, UPDATE_CLUSTER_SETTINGS),
)
