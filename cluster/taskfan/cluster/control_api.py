"""The control API as a table of routes: orders to the supervisor as HTTP and JSON, and what is refused and why."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from taskfan.cluster.errors import ClusterError, ConfigError
from taskfan.cluster.fault_control import UnknownFault
from taskfan.cluster.messages import ClusterStatus, Command, FaultCommand, FaultReport, Verb
from taskfan.cluster.orders import FaultRefused, Orders
from taskfan.cluster.running_cluster import UnknownNode
from taskfan.coordinator.http.messages import Fields as HttpFields
from taskfan.node.faults.rule import FIELDS, FaultRule

MAX_BODY_BYTES = 1 << 20
Fields = Mapping[bytes, bytes]
Body = TypeVar("Body")


@dataclass(slots=True)
class Refused(Exception):
    """A request that is answered with an error, and why."""

    status: int
    type: str
    reason: str
    field: str | None = None
    # A header field that belongs to this status.
    header: tuple[bytes, bytes] | None = None

    def body(self) -> bytes:
        """What the client reads."""
        error = {"type": self.type, "reason": self.reason}
        if self.field is not None:
            error["field"] = self.field
        return msgspec.json.encode({"error": error, "status": self.status})


class RuleBody(msgspec.Struct, forbid_unknown_fields=True):
    """Several rules that belong together."""

    rules: list[dict[str, Any]]
    name: str = ""


class ShapeBody(msgspec.Struct, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A shape of a broken network: isolate, halves, bridge, ring, one_way or by_attribute.

    `kind` is what happens to its links: `cut`, `blackhole`, or `slow` with `bandwidth`.
    """

    shape: str
    nodes: str | list[str] | None = None
    from_: str | list[str] | None = None
    to: str | list[str] | None = None
    attribute: str | None = None
    kind: str = "cut"
    bandwidth: str | None = None
    name: str = ""


class NodeBody(msgspec.Struct, forbid_unknown_fields=True):
    """What `slow` needs."""

    bandwidth: str | None = None


class NewNodeBody(msgspec.Struct, forbid_unknown_fields=True):
    """A node that is added: without a name it gets the next one; its settings have the names of a config file."""

    name: str = ""
    settings: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """One request whose checks are passed."""

    orders: Orders
    body: bytes
    # The part of the path that names something.
    name: str

    def read(self, type: type[Body]) -> Body:
        """The body as this type. Raises Refused, which names the field."""
        try:
            return msgspec.json.decode(self.body or b"{}", type=type)
        except msgspec.ValidationError as error:
            problem, _, place = str(error).partition(" - at `$.")
            field = place.rstrip("`") or _quoted(problem)
            raise Refused(400, "validation_exception", problem, field) from None
        except (msgspec.DecodeError, RecursionError) as error:
            raise Refused(400, "parse_exception", f"the body is no JSON: {error}") from None


def _quoted(problem: str) -> str | None:
    """The field that a message speaks of: `Object contains unknown field `x``."""
    found = re.search("`([^`]+)`", problem)
    return found[1] if found else None


READ_FIELDS = frozenset([b"host", b"origin", b"authorization", b"content-type"])
Handler = Callable[[Request], Awaitable[tuple[int, Any]]]
NODE_VERBS: tuple[Verb, ...] = ("start", "stop", "restart", "kill", "pause", "resume")
NODE_FAULTS = ("disconnect", "blackhole", "slow", "full")


# ---------------------------------------------------------------------- handlers


async def _help(request: Request) -> tuple[int, Any]:
    endpoints = {f"{method} {path}": what for (method, path), (_, what) in ROUTES.items()}
    return 200, {"cluster": request.orders.cluster.config.name, "endpoints": endpoints}


async def _schema(request: Request) -> tuple[int, Any]:
    types = (FaultRule, RuleBody, ShapeBody, NodeBody, NewNodeBody, FaultReport, ClusterStatus)
    _, components = msgspec.json.schema_components(types)
    return 200, {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": _named(components)}


def _named(components: dict[str, Any]) -> Any:
    """With references as in a schema of its own."""
    return msgspec.json.decode(msgspec.json.encode(components).replace(b"#/components/schemas/", b"#/$defs/"))


async def _cluster(request: Request) -> tuple[int, Any]:
    return 200, _told(await request.orders.carry_out(Command("status")))


async def _ready(request: Request) -> tuple[int, Any]:
    return 200, _told(await request.orders.carry_out(Command("ready")))


async def _list_faults(request: Request) -> tuple[int, Any]:
    return 200, {"faults": [_without_hits(report) for report in await _faults(request, FaultCommand("list"))]}


def _without_hits(report: Any) -> Any:
    """Hits are told by what asks for them; an empty list here would look like none."""
    return {name: value for name, value in report.items() if name != "hits"}


async def _create_fault(request: Request) -> tuple[int, Any]:
    values = request.read(dict[str, Any])
    if "shape" in values:
        shape = request.read(ShapeBody)
        return await _create_shape(request, shape)
    if "rules" in values:
        body = request.read(RuleBody)
        command = FaultCommand("add", rules=body.rules, name=body.name)
    else:
        name = values.pop("name", "")
        command = FaultCommand("add", rules=[values], name=str(name))
    [report] = await _faults(request, command)
    return 201, report


async def _create_shape(request: Request, body: ShapeBody) -> tuple[int, Any]:
    arguments = {"nodes": body.nodes, "from": body.from_, "to": body.to, "attribute": body.attribute}
    link = {"kind": body.kind} | ({} if body.bandwidth is None else {"bandwidth": body.bandwidth})
    given = {name: value for name, value in arguments.items() if value is not None}
    [report] = await _faults(request, FaultCommand("shape", shape=body.shape, values=given, link=link, name=body.name))
    return 201, report


async def _partition(request: Request) -> tuple[int, Any]:
    return await _create_shape(request, request.read(ShapeBody))


async def _reset(request: Request) -> tuple[int, Any]:
    return 200, {"faults": await _faults(request, FaultCommand("reset"))}


async def _heal(request: Request) -> tuple[int, Any]:
    await _faults(request, FaultCommand("heal"))
    return await _cluster(request)


async def _hits(request: Request) -> tuple[int, Any]:
    [report] = await _faults(request, FaultCommand("hits", fault=request.name))
    return 200, report


async def _get_fault(request: Request) -> tuple[int, Any]:
    status, report = await _hits(request)
    return status, _without_hits(report)


async def _change_fault(request: Request) -> tuple[int, Any]:
    values = request.read(dict[str, Any])
    if unknown := [name for name in values if name not in FIELDS]:
        raise Refused(400, "illegal_argument_exception", f"[{unknown[0]}] is no field of a fault rule", unknown[0])
    [report] = await _faults(request, FaultCommand("change", fault=request.name, values=values))
    return 200, report


async def _delete_fault(request: Request) -> tuple[int, Any]:
    [report] = await _faults(request, FaultCommand("remove", fault=request.name))
    return 200, report


async def _faults(request: Request, command: FaultCommand) -> list[Any]:
    answer = await request.orders.carry_out_fault(command)
    return [msgspec.to_builtins(report) for report in answer.reports]


async def _add_node(request: Request) -> tuple[int, Any]:
    body = request.read(NewNodeBody)
    try:
        return 201, _told(await request.orders.carry_out(Command("add", body.name, body.settings)))
    except ConfigError as error:
        named = re.findall(r"\[([^]]+)]", error.message)
        field = next((f"settings.{name}" for name in named if name in body.settings), None)
        if field is None and ("node.name" in named or body.name in named):
            field = "name"
        raise Refused(400, "illegal_argument_exception", error.message, field) from None


async def _remove_node(request: Request) -> tuple[int, Any]:
    return 200, _told(await request.orders.carry_out(Command("remove", request.name)))


def _node_verb(verb: Verb) -> Handler:
    async def handler(request: Request) -> tuple[int, Any]:
        request.read(NodeBody)
        return 200, _told(await request.orders.carry_out(Command(verb, request.name)))

    return handler


def _node_fault(verb: str) -> Handler:
    async def handler(request: Request) -> tuple[int, Any]:
        bandwidth = request.read(NodeBody).bandwidth
        # A node that does not exist is no fault that cannot be meant.
        node = request.orders.cluster.find(request.name).config.name
        if verb == "full":
            rule = {"kind": "refuse", "to": node, "action": ["*", "-internal:*"]}
            command = FaultCommand("add", rules=[rule], name=verb)
        else:
            link = {"kind": {"disconnect": "cut"}.get(verb, verb)}
            link |= {} if bandwidth is None else {"bandwidth": bandwidth}
            command = FaultCommand("shape", shape="isolate", values={"nodes": node}, link=link, name=verb)
        [report] = await _faults(request, command)
        return 201, report

    return handler


def _told(status: ClusterStatus) -> Any:
    return {name: value for name, value in msgspec.to_builtins(status).items() if name != "type"}


# ---------------------------------------------------------------------- the table

ROUTES: dict[tuple[str, str], tuple[Handler, str]] = {
    ("GET", "/"): (_help, "this"),
    ("GET", "/schema"): (_schema, "JSON schema of bodies and answers"),
    ("GET", "/cluster"): (_cluster, "the nodes and what they do"),
    ("POST", "/cluster/ready"): (_ready, "answers when every node that runs answers"),
    ("POST", "/heal"): (_heal, "remove all faults, and let paused nodes go on"),
    ("GET", "/faults"): (_list_faults, "all faults with the number of their hits"),
    ("POST", "/faults"): (_create_fault, "set a rule, several `rules`, or a `shape`"),
    ("DELETE", "/faults"): (_reset, "remove all faults"),
    ("POST", "/partition"): (_partition, "set a shape"),
    ("GET", "/faults/{fault}"): (_get_fault, "one fault"),
    ("PATCH", "/faults/{fault}"): (_change_fault, "give fields of its rules other values; null is the default"),
    ("DELETE", "/faults/{fault}"): (_delete_fault, "remove it; answers what it did"),
    ("GET", "/faults/{fault}/hits"): (_hits, "what it has spoiled"),
    ("POST", "/nodes"): (_add_node, "add a node"),
    ("DELETE", "/nodes/{node}"): (_remove_node, "remove a node for good"),
    **{("POST", f"/nodes/{{node}}/{verb}"): (_node_verb(verb), f"{verb} a node") for verb in NODE_VERBS},
    **{("POST", f"/nodes/{{node}}/{verb}"): (_node_fault(verb), f"a fault: {verb}") for verb in NODE_FAULTS},
}


def find_route(method: str, path: str) -> tuple[Handler, str]:
    """The handler of a request, and what its path names. Raises Refused."""
    methods = []
    for (known, template), (handler, _) in ROUTES.items():
        match = re.fullmatch(re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(template)), path)
        if match is not None and known == method:
            return handler, match[1] if match.groups() else ""
        if match is not None:
            methods.append(known)
    if methods:
        allowed = ", ".join(methods)
        header = (b"allow", allowed.encode())
        raise Refused(405, "method_not_allowed", f"[{path}] takes {allowed}, not {method}", None, header)
    raise Refused(404, "not_found", f"There is nothing at [{path}]: GET / lists what there is")


# ---------------------------------------------------------------------- who may ask


def read_fields(given: HttpFields) -> Fields:
    """The header fields that count. Raises Refused for one that comes twice: who reads which is anybody's guess."""
    for name, values in given.items():
        if len(values) > 1:
            raise Refused(400, "illegal_argument_exception", f"the header field [{name.decode('latin-1')}] comes twice")
    return {name: values[0] for name, values in given.items()}


class Guard:
    """Lets in who is on this machine, means this server, and has read its token. Each refusal says why."""

    def __init__(self, port: int, token: str, token_path: str) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = [f"{name}:{port}" for name in names] + (list(names) if port == 80 else [])
        self._token, self._token_path = token.encode(), token_path

    def check(self, fields: Fields) -> None:
        """Raises Refused."""
        host = fields.get(b"host", b"").decode("latin-1").lower()
        if host not in self._hosts:
            # A page of another site whose name leads here (DNS rebinding) says that name.
            reason = f"the Host [{host}] is not this server's: ask {self._hosts[0]}"
            raise Refused(403, "foreign_host", reason)
        origin = fields.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower() not in [f"http://{name}" for name in self._hosts]:
            shown = origin.decode("latin-1")
            raise Refused(403, "foreign_origin", f"the Origin [{shown}] is another site's, which may not use this API")
        given = fields.get(b"authorization", b"")
        if not given:
            raise self._unauthorized("the token is missing")
        if not hmac.compare_digest(given, b"Bearer " + self._token):
            raise self._unauthorized("the token is not this cluster's")

    def _unauthorized(self, why: str) -> Refused:
        reason = f"{why}: send `Authorization: Bearer TOKEN` with the content of {self._token_path}"
        return Refused(401, "unauthorized", reason, None, (b"www-authenticate", b"Bearer"))


def check_content(fields: Fields, body: bytes) -> None:
    """Raises Refused for a body that is not said to be JSON."""
    given = fields.get(b"content-type", b"").decode("latin-1")
    if body and given.partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "unsupported_media_type", f"the Content-Type [{given}] is not application/json")


async def answer(orders: Orders, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Carry out a request that was let in. Raises Refused."""
    handler, name = find_route(method, path)
    try:
        status, answered = await handler(Request(orders, body, name))
    except FaultRefused as error:
        raise Refused(400, "illegal_argument_exception", error.message, error.field) from None
    except (UnknownFault, UnknownNode) as error:
        raise Refused(404, "resource_not_found_exception", error.message) from None
    except ClusterError as error:
        raise Refused(409, "cluster_error", error.message) from None
    return status, msgspec.json.encode(answered)
