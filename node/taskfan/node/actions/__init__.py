"""The actions every node answers; one file for each family. `ACTIONS` is what a node is made with."""

from __future__ import annotations

from taskfan.node.actions.ban import BAN
from taskfan.node.actions.bulk_shard import BULK_SHARD_ACTIONS
from taskfan.node.actions.cancel_tasks import CANCEL_OF_NODE
from taskfan.node.actions.get_document import GET_ACTIONS
from taskfan.node.actions.index_stats import STATS_OF_NODE as INDEX_STATS_OF_NODE
from taskfan.node.actions.list_tasks import LIST_OF_NODE
from taskfan.node.actions.node_info import INFO_OF_NODE, STATS_OF_NODE
from taskfan.node.actions.refresh import REFRESH_ACTIONS
from taskfan.node.actions.rethrottle import RETHROTTLE_OF_NODE
from taskfan.node.actions.search import SEARCH_PHASES
from taskfan.node.actions.shard_state import SHARD_FAILED_ACTION, SHARD_STARTED_ACTION, START_RECOVERY_ACTION
from taskfan.node.actions.update import UPDATE_OF_SHARD
from taskfan.node.actions.work import WORK

ACTIONS = (
    *(BAN, LIST_OF_NODE, CANCEL_OF_NODE, INFO_OF_NODE, STATS_OF_NODE, WORK),
    *(SHARD_STARTED_ACTION, SHARD_FAILED_ACTION, START_RECOVERY_ACTION),
    *(*SEARCH_PHASES, RETHROTTLE_OF_NODE),
    *(*BULK_SHARD_ACTIONS, *REFRESH_ACTIONS, *GET_ACTIONS, UPDATE_OF_SHARD, INDEX_STATS_OF_NODE),
)
