"""A failure as the answer a client reads, key by key."""

from __future__ import annotations

import json

import pytest

from taskfan.coordinator.rest.errors import BadParameter, Bug, InvalidIndexName, envelope, plain_error
from taskfan.node.errors import (
    IllegalArgument,
    IndexNotFound,
    NumberFormat,
    ResourceNotFound,
    TaskfanError,
    TransportError,
)
from taskfan.node.index.errors import ParsingFailed, XContentParse, root_cause


def test_an_error_without_a_cause_is_its_own_root_cause() -> None:
    assert json.dumps(envelope(IllegalArgument("malformed task id foo"))) == json.dumps(
        {
            "error": {
                "root_cause": [{"type": "illegal_argument_exception", "reason": "malformed task id foo"}],
                "type": "illegal_argument_exception",
                "reason": "malformed task id foo",
            },
            "status": 400,
        }
    )


def test_the_innermost_cause_is_the_root_cause_and_metadata_comes_before_causes() -> None:
    index = {"index": ".tasks", "resource.id": ".tasks", "resource.type": "index_expression", "index_uuid": "_na_"}
    missing = {"type": "index_not_found_exception", "reason": "no such index [.tasks]", **index}
    cause = ResourceNotFound("no result", cause=IndexNotFound(".tasks", "index_expression"))
    assert json.dumps(envelope(ResourceNotFound("no node", cause=cause))) == json.dumps(
        {
            "error": {
                "root_cause": [missing],
                "type": "resource_not_found_exception",
                "reason": "no node",
                "caused_by": {"type": "resource_not_found_exception", "reason": "no result", "caused_by": missing},
            },
            "status": 404,
        }
    )


def test_a_java_exception_is_its_own_root_cause_whatever_caused_it() -> None:
    error = IllegalArgument("malformed task id a:b", cause=NumberFormat('For input string: "b"'))
    assert root_cause(error) is error
    assert root_cause(TransportError("failure to send", cause=error)).kind == "transport_exception"


def test_of_faults_in_a_body_the_innermost_that_names_a_place_is_the_root_cause() -> None:
    reason = IllegalArgument("max must be greater than id")
    inner = XContentParse("[slice] failed to parse field [id]", 1, 24, cause=reason)
    assert root_cause(XContentParse("[reindex] failed to parse field [source]", 1, 48, cause=inner)) is inner
    parsing = ParsingFailed("unknown query [x]", 1, 20, cause=XContentParse("unknown field [x]", 1, 20))
    assert root_cause(XContentParse("[reindex] failed to parse field [source]", 1, 54, cause=parsing)) is parsing


def test_one_that_crossed_the_wire_counts_as_opensearchs() -> None:
    crossed = InvalidIndexName("X", "must be lowercase").crossed()
    assert root_cause(TransportError("t", cause=crossed)) is crossed


def test_a_missing_reason_is_null() -> None:
    assert envelope(TaskfanError(None))["error"]["reason"] is None


def test_a_query_that_cannot_be_decoded_is_told_as_java_does() -> None:
    told = envelope(BadParameter(IllegalArgument("invalid escape sequence")))
    assert told["status"] == 400
    assert told["error"]["type"] == "bad_parameter_exception"
    assert told["error"]["reason"] == "java.lang.IllegalArgumentException: invalid escape sequence"
    assert told["error"]["root_cause"] == [{"type": "bad_parameter_exception", "reason": told["error"]["reason"]}]
    assert told["error"]["caused_by"] == {"type": "illegal_argument_exception", "reason": "invalid escape sequence"}


def test_a_stack_trace_comes_last_in_the_error_and_in_its_root_cause() -> None:
    with pytest.raises(TaskfanError) as raised:
        raise IllegalArgument("wrong")
    error = envelope(raised.value, with_stack_trace=True)["error"]
    assert list(error) == ["root_cause", "type", "reason", "stack_trace"]
    assert list(error["root_cause"][0]) == ["type", "reason", "stack_trace"]
    first, second, *_ = error["stack_trace"].splitlines()
    assert first == "illegal_argument_exception: wrong"
    assert second.startswith("\tat test_a_stack_trace_comes_last_in_the_error_and_in_its_root_cause(test_errors.py:")


def test_a_bug_is_a_500_that_names_the_exception() -> None:
    told = envelope(Bug(KeyError("x")))
    assert (told["status"], told["error"]["reason"]) == (500, "KeyError: 'x'")


def test_plain_errors_have_a_status_unless_the_path_leads_nowhere() -> None:
    assert plain_error("no", 405) == {"error": "no", "status": 405}
    assert plain_error("no handler", None) == {"error": "no handler"}
