"""What method and target of a request alone decide: route, parameters, options, or a refusal. Pure but for its cache.

Nothing is raised, for the same plan serves every request with the same method and target.
Source: OpenSearch `RestController.tryAllHandlers`, `AbstractRestChannel`, `BaseRestHandler`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from taskfan.coordinator.rest.cat import CAT_PARAMETERS
from taskfan.coordinator.rest.errors import BadParameter, plain_error
from taskfan.coordinator.rest.filter_path import PathFilter
from taskfan.coordinator.rest.formats import PLAIN, Options
from taskfan.coordinator.rest.parameters import (
    Parameter,
    boolean,
    decode,
    parse_boolean,
    parse_query,
    read_known_parameters,
    read_parameters,
    text,
)
from taskfan.coordinator.rest.paths import Match, PathTrie
from taskfan.coordinator.rest.routes import Handler, Route
from taskfan.node.errors import TaskfanError

CACHED_PLANS = 256
_METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "CONNECT")
_HELP = boolean("help")
_WITH_HELP: tuple[Parameter, ...] = (
    _HELP,
    *(text(known.name, is_late=True) for known in CAT_PARAMETERS),
    text("timeout", is_late=True),
)
_AUTHORITY = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/]*")
# What Java's URI takes for no path, and for no query.
_NO_PATH = re.compile(r'[\x00-\x20\x7f"<>\\^`{|}\[\]]|%(?![0-9a-fA-F]{2})')
_NO_QUERY = re.compile(r'[\x00-\x20\x7f"<>\\^`{|}#]|%(?![0-9a-fA-F]{2})')


class Refusal(msgspec.Struct, frozen=True):
    """An answer that no handler gives: 405, a path that leads nowhere, or OPTIONS (without a body)."""

    status: int
    body: Mapping[str, Any] | None
    allow: str = ""


class Plan(msgspec.Struct, frozen=True):
    """How a request is to be treated, in the order of its fields; the first refusal that is not None is the answer.

    Args:
        malformed: found before headers are looked at.
        refusal: after the headers.
        route: set when there is no refusal.
        wrong_parameter: after the type of the body.
        unrecognized: parameters nobody declared, where the handler is to refuse them.
    """

    path: str
    options: Options = PLAIN
    malformed: TaskfanError | None = None
    refusal: Refusal | None = None
    route: Route | None = None
    handler: Handler | None = None
    wrong_parameter: TaskfanError | None = None
    unrecognized: TaskfanError | None = None
    parameters: Mapping[str, Any] = {}


class Planner:
    """Makes plans, and keeps the latest ones. There is one for each table of routes: see `planner_of`."""

    def __init__(self, routes: PathTrie[Route]) -> None:
        self._routes = routes
        # Long targets are rare, and would fill the cache with what is not asked for again.
        self._cached = lru_cache(CACHED_PLANS)(self._plan)

    def plan(self, method: str, target: bytes) -> Plan:
        """The plan of a request line. `target` is its middle, as it came."""
        return self._cached(method, target) if len(target) <= 512 else self._plan(method, target)

    def _plan(self, method: str, target: bytes) -> Plan:
        uri = target.decode("latin-1")
        path, _, query = uri.partition("?")
        try:
            given = parse_query(query) if query else {}
        except TaskfanError as error:
            return Plan(path, malformed=BadParameter(error))
        try:
            options = _options(given)
        except TaskfanError as error:
            return Plan(path, malformed=error)
        plan = Plan(path, options)
        if method not in _METHODS:
            return replace(plan, refusal=self._unexpected_method(path))
        try:
            match = self._find(method, path)
            named = {} if match is None else {name: _decoded(part) for name, part in match.named.items()}
        except TaskfanError:
            # As in OpenSearch, where a path that cannot be decoded is taken for a method that cannot be read.
            return replace(plan, refusal=self._unexpected_method(path))
        if match is None:
            return replace(plan, refusal=self._no_route(method, uri, path))
        return _with_parameters(plan, match.methods[method], given | named)

    def _find(self, method: str, path: str) -> Match[Route] | None:
        """The first try that leads to this method. Raises IllegalArgument for a name that cannot be decoded."""
        methods: list[str] | None = None
        for match in self._routes.matches(path):
            if match is not None:
                for part in match.named.values():
                    _decoded(part)
                if method in match.methods:
                    return match
            # Other methods only: no further try, unless one of them has this method.
            methods = self._routes.methods(path) if methods is None else methods
            if method not in methods and (methods or method == "OPTIONS"):
                return None
        return None

    def _no_route(self, method: str, uri: str, path: str) -> Refusal:
        methods = self._routes.methods(path)
        allow = ",".join(methods)
        if method == "OPTIONS":
            return Refusal(200, None, allow)
        if methods:
            allowed = f", allowed: [{', '.join(methods)}]"
            message = f"Incorrect HTTP method for uri [{uri}] and method [{method}]{allowed}"
            return Refusal(405, plain_error(message, 405), allow)
        message = f"no handler found for uri [{_shown(path)}] and method [{method}]"
        query = uri.partition("?")[2]
        if _NO_PATH.search(path) or _NO_QUERY.search(query):
            message = "invalid uri has been requested"
        return Refusal(400, plain_error(message, None))

    def _unexpected_method(self, path: str) -> Refusal:
        methods = self._routes.methods(path)
        allowed = f", allowed: [{', '.join(methods)}]" if methods else ""
        return Refusal(405, plain_error(f"Unexpected HTTP method{allowed}", 405), ",".join(methods))


@lru_cache(4)
def planner_of(routes: PathTrie[Route]) -> Planner:
    """The planner of these routes: what it has planned before a fork, members need not plan again."""
    return Planner(routes)


def _decoded(part: str) -> str:
    return decode(part, plus_is_blank=False)


def _shown(path: str) -> str:
    """What Java's URI calls the path: without scheme and host."""
    try:
        return _decoded(_AUTHORITY.sub("", path))
    except TaskfanError:
        return path


def _options(given: Mapping[str, str]) -> Options:
    """Raises IllegalArgument. In OpenSearch's order."""
    if not given:
        return PLAIN
    pretty, human = parse_boolean(given.get("pretty"), False), parse_boolean(given.get("human"), False)
    error_trace = parse_boolean(given.get("error_trace"), False)
    return Options(pretty, human, error_trace, given.get("format"), PathFilter.parse(given.get("filter_path")))


def _with_parameters(plan: Plan, route: Route, given: Mapping[str, str]) -> Plan:
    options = plan.options
    if route.pretty_by_default and "pretty" not in given:
        options = replace(options, pretty=True)
    plan = replace(plan, options=options, route=route, handler=route.handler)
    if not route.is_served:
        return plan
    try:
        declared, handler = route.parameters, route.handler
        if route.help is not None:
            wants_help = parse_boolean(given.get("help"), False)
            declared = (*_WITH_HELP, *route.help_parameters) if wants_help else (_HELP, *route.parameters)
            handler = route.help if wants_help else route.handler
        path = decode(plan.path, plus_is_blank=False)
        if route.works_first:
            values, unrecognized = read_known_parameters(path, given, declared)
            return replace(plan, handler=handler, parameters=values, unrecognized=unrecognized)
        return replace(plan, handler=handler, parameters=read_parameters(path, given, declared))
    except TaskfanError as error:
        return replace(plan, wrong_parameter=error)
