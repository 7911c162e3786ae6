"""Endpoints of OpenSearch that taskfan does not serve. Pure.

They answer 501 and not 400, so that nobody looks for a typo.
"""

from __future__ import annotations

from collections.abc import Iterator

# Methods and a path in each line; `*` before a path adds the same one below `/{index}`.
_ENDPOINTS = """
GET,POST * /_validate/query
GET,POST * /_search/template
GET,POST * /_msearch/template
GET,POST * /_mtermvectors
GET,POST * /_field_caps
GET,POST * /_rank_eval
GET,POST * /_search_shards
GET,POST * /_analyze
POST * /_cache/clear
GET,POST * /_upgrade
GET * /_stats
GET * /_stats/{metric}
GET * /_segments
GET * /_recovery
GET * /_shard_stores
GET * /_alias
GET,HEAD,PUT,POST * /_alias/{name}
PUT /_alias
PUT,HEAD /{index}/_alias
DELETE /{index}/_alias/{name}
PUT /{index}/_aliases
PUT,POST /_aliases/{name}
PUT,POST,DELETE /{index}/_aliases/{name}
GET,DELETE /_search/point_in_time/_all
DELETE /_search/point_in_time
GET /_search/pipeline
GET,PUT,DELETE /_search/pipeline/{id}
POST /{index}/_search/point_in_time
GET,POST /{index}/_explain/{id}
GET,POST /{index}/_termvectors
GET,POST /{index}/_termvectors/{id}
GET * /_mapping/field/{fields}
POST,PUT /{index}/_clone/{target}
POST,PUT /{index}/_shrink/{target}
POST,PUT /{index}/_split/{target}
POST /{index}/_rollover
POST /{index}/_rollover/{new_index}
POST /{index}/_scale
GET,POST * /_flush/synced
POST * /_close
POST * /_open
POST,PUT * /_bulk/stream
PUT /{index}/_block/{block}
GET,POST /_aliases
GET /_resolve/index/{name}
GET /_data_stream
GET,PUT,DELETE /_data_stream/{name}
GET /_data_stream/_stats
GET /_data_stream/{name}/_stats
POST /_data_stream/_modify
GET,POST /views
GET,PUT,DELETE /views/{view_name}
GET,POST /views/{view_name}/_search
GET /_template
GET,HEAD,PUT,POST,DELETE /_template/{name}
GET /_index_template
GET,HEAD,PUT,POST,DELETE /_index_template/{name}
POST /_index_template/_simulate
POST /_index_template/_simulate/{name}
POST /_index_template/_simulate_index/{name}
GET /_component_template
GET,HEAD,PUT,POST,DELETE /_component_template/{name}
GET /_cluster/stats
GET /_cluster/stats/nodes/{nodeId}
GET /_cluster/stats/{metric}/nodes/{nodeId}
GET /_cluster/stats/{metric}/{index_metric}/nodes/{nodeId}
GET /_cluster/nodes/hot_threads
GET /_cluster/nodes/hotthreads
GET /_cluster/nodes/{nodeId}/hot_threads
GET /_cluster/nodes/{nodeId}/hotthreads
GET /_cluster/pending_tasks
GET,POST /_cluster/allocation/explain
POST /_cluster/reroute
POST,DELETE /_cluster/voting_config_exclusions
POST /_cluster/voting_config_exclusions/{node_name}
GET,PUT,DELETE /_cluster/routing/awareness/{attribute}/weights
DELETE /_cluster/routing/awareness/weights
DELETE /_cluster/decommission/awareness
GET /_cluster/decommission/awareness/{awareness_attribute_name}/_status
PUT /_cluster/decommission/awareness/{awareness_attribute_name}/{awareness_attribute_value}
GET /_remote/info
GET /_nodes/stats
GET /_nodes/stats/{metric}
GET /_nodes/{nodeId}/stats
GET /_nodes/{nodeId}/stats/{metric}
GET /_nodes/stats/{metric}/{index_metric}
GET /_nodes/{nodeId}/stats/{metric}/{index_metric}
GET /_nodes/hot_threads
GET /_nodes/{nodeId}/hot_threads
GET /_nodes/hotthreads
GET /_nodes/{nodeId}/hotthreads
GET /_nodes/usage
GET /_nodes/usage/{metric}
GET /_nodes/{nodeId}/usage
GET /_nodes/{nodeId}/usage/{metric}
POST /_nodes/reload_secure_settings
POST /_nodes/{nodeId}/reload_secure_settings
GET /_cat/aliases
GET /_cat/aliases/{alias}
GET /_cat/allocation
GET /_cat/allocation/{nodes}
GET /_cat/fielddata
GET /_cat/fielddata/{fields}
GET /_cat/nodeattrs
GET /_cat/pending_tasks
GET /_cat/pit_segments
GET /_cat/pit_segments/_all
GET /_cat/plugins
GET /_cat/recovery
GET /_cat/recovery/{index}
GET /_cat/repositories
GET /_cat/segment_replication
GET /_cat/segment_replication/{index}
GET /_cat/segments
GET /_cat/segments/{index}
GET /_cat/snapshots
GET /_cat/snapshots/{repository}
GET /_cat/templates
GET /_cat/templates/{name}
GET /_cat/thread_pool
GET /_cat/thread_pool/{thread_pool_patterns}
GET /_list
GET /_list/indices
GET /_list/indices/{index}
GET /_list/shards
GET /_list/shards/{index}
GET /_list/wlm_stats
GET /_list/wlm_stats/stats/{workloadGroupId}
GET /_list/wlm_stats/{nodeId}/stats
GET /_list/wlm_stats/{nodeId}/stats/{workloadGroupId}
GET /_wlm/stats
GET /_wlm/stats/{workloadGroupId}
GET /_wlm/{nodeId}/stats
GET /_wlm/{nodeId}/stats/{workloadGroupId}
GET /_snapshot
GET,PUT,POST,DELETE /_snapshot/{repository}
GET,PUT,POST,DELETE /_snapshot/{repository}/{snapshot}
GET /_snapshot/_status
POST /_snapshot/{repository}/_cleanup
POST /_snapshot/{repository}/_verify
GET /_snapshot/{repository}/_status
GET /_snapshot/{repository}/{snapshot}/_status
GET /_snapshot/{repository}/{snapshot}/{index}/_status
PUT /_snapshot/{repository}/{snapshot}/_clone/{target_snapshot}
POST /_snapshot/{repository}/{snapshot}/_restore
GET /_ingest/pipeline
GET,PUT,DELETE /_ingest/pipeline/{id}
GET,POST /_ingest/pipeline/_simulate
GET,POST /_ingest/pipeline/{id}/_simulate
GET /_ingest/processor/grok
GET,PUT,POST,DELETE /_scripts/{id}
PUT,POST /_scripts/{id}/{context}
GET /_script_context
GET /_script_language
GET,POST /_scripts/painless/_execute
GET,POST /_render/template
GET /_dangling
POST,DELETE /_dangling/{index_uuid}
POST /_filecache/prune
POST /_blockcache/prune
POST /_remotestore/_restore
GET /_remotestore/metadata/{index}
GET /_remotestore/metadata/{index}/{shard_id}
GET /_remotestore/stats/{index}
GET /_remotestore/stats/{index}/{shard_id}
GET /{index}/ingestion/_state
POST /{index}/ingestion/_pause
POST /{index}/ingestion/_resume
GET /favicon.ico
"""


def missing_endpoints() -> Iterator[tuple[str, str]]:
    """Method and path template of each."""
    for line in _ENDPOINTS.split("\n"):
        methods, _, path = line.partition(" ")
        for method in methods.split(",") if path else ():
            if path.startswith("* "):
                yield method, "/{index}" + path.removeprefix("* ")
            yield method, path.removeprefix("* ")
