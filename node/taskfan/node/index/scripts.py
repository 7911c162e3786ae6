"""A small part of Painless: enough to set, add, remove, and skip or delete a document. Pure.

Statements, separated by `;`:

    ctx._source.field = <literal or field or params.x>      ctx._source['field'] = …
    ctx._source.field += <the same>                          -= … and ++ -- too
    ctx._source.remove('field')
    ctx.op = 'noop' | 'delete' | 'index'
    if (ctx._source.field == <literal>) { … }                == != < <= > >=, with one else { … }

Anything else is a `script_exception` that names what was not understood. Differs: in OpenSearch Painless is a language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from taskfan.node.errors import IllegalArgument, ResourceNotFound
from taskfan.node.index.errors import BodyUnreadable, ScriptFailed
from taskfan.node.index.field_values import java_text

_FIELD = r"ctx\._source(?:\.\w+|\[(?:'[^']*'|\"[^\"]*\")\])+"
_VALUE = rf"(?:-?\d+(?:\.\d+)?[lLfFdD]?|'[^']*'|\"[^\"]*\"|true|false|null|params\.\w+|{_FIELD})"
_SET = re.compile(rf"(?P<field>{_FIELD})\s*(?P<operator>\+=|-=|=)\s*(?P<value>{_VALUE})")
_COUNT = re.compile(rf"(?P<field>{_FIELD})\s*(?P<operator>\+\+|--)")
_REMOVE = re.compile(r"(?P<object>ctx\._source(?:\.\w+)*)\.remove\((?:'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\")\)")
_OP = re.compile(r"ctx\.op\s*=\s*(?:'(?P<single>\w+)'|\"(?P<double>\w+)\")")
_IF = re.compile(
    rf"if\s*\(\s*(?P<left>{_VALUE})\s*(?P<compare>==|!=|<=|>=|<|>)\s*(?P<right>{_VALUE})\s*\)\s*"
    r"\{(?P<then>[^{}]*)\}(?:\s*else\s*\{(?P<otherwise>[^{}]*)\})?"
)
_STEP = re.compile(r"\.(\w+)|\[(?:'([^']*)'|\"([^\"]*)\")\]")
MAX_SCRIPT_LENGTH = 65_535


class Outcome(msgspec.Struct, frozen=True):
    """What a script made of a document: its source, and `op`, which is `index` unless it said otherwise."""

    source: dict[str, Any]
    op: str


class Script(msgspec.Struct, frozen=True):
    """A script as it came. `str()` is how a description names it. Source: OpenSearch `Script`."""

    source: str
    lang: str = "painless"
    params: Mapping[str, Any] = {}
    # The name of a stored script, in place of a source. None is stored here.
    stored_id: str | None = None

    def __str__(self) -> str:
        options, params = "{}", java_text(dict(self.params))
        return (
            f"Script{{type=inline, lang='{self.lang}', idOrCode='{self.source}', options={options}, params={params}}}"
        )

    def check(self) -> None:
        """Compile it.

        Raises:
            ResourceNotFound: it names a stored script.
            IllegalArgument: the language is not one that runs here.
            ScriptFailed: a statement is none that is understood here.
        """
        if self.stored_id is not None:
            raise ResourceNotFound(f"unable to find script [{self.stored_id}] in cluster state")
        if self.lang != "painless":
            raise IllegalArgument(f"script_lang not supported [{self.lang}]")
        if len(self.source) > MAX_SCRIPT_LENGTH:
            raise IllegalArgument(f"exceeded max allowed inline script size in bytes [{MAX_SCRIPT_LENGTH}]")
        for statement in _statements(self.source):
            self._check_statement(statement)

    def _check_statement(self, statement: str) -> None:
        if (found := _IF.fullmatch(statement)) is not None:
            for inner in (found["then"], found["otherwise"] or ""):
                for part in _statements(inner):
                    self._check_statement(part)
        elif not any(pattern.fullmatch(statement) for pattern in (_SET, _COUNT, _REMOVE, _OP)):
            cause = IllegalArgument(f"not understood here: [{statement}]")
            raise ScriptFailed("compile error", metadata=self._about([statement]), cause=cause)

    def _about(self, stack: list[str]) -> dict[str, str | list[str]]:
        return {"script_stack": stack, "script": self.source, "lang": self.lang}

    def run(self, source: Mapping[str, Any], op: str = "index") -> Outcome:
        """The document after the script.

        Raises:
            IllegalArgument: the script set an operation that does not exist.
            ScriptFailed: it added to something that is no number, or went into something that is no object.
        """
        self.check()
        run = _Run(self, json.loads(json.dumps(source)), op)
        run.all(self.source)
        if run.op not in ("index", "create", "noop", "none", "delete"):
            raise IllegalArgument(f"Operation type [{run.op}] not allowed, only [noop, index, delete] are allowed")
        return Outcome(run.source, run.op)


def _statements(source: str) -> list[str]:
    # A semicolon within quotes or braces ends nothing; one after a closing brace may be left out.
    parts = re.findall(
        r"""\s*(if\s*\([^)]*\)\s*\{[^{}]*\}(?:\s*else\s*\{[^{}]*\})?|(?:'[^']*'|"[^"]*"|[^;'"])+);?""", source
    )
    return [part.strip() for part in parts if part.strip()]


class _Run(msgspec.Struct):
    script: Script
    source: dict[str, Any]
    op: str

    def all(self, statements: str) -> None:
        for statement in _statements(statements):
            self.one(statement)

    def one(self, statement: str) -> None:
        if (found := _IF.fullmatch(statement)) is not None:
            holds = _compare(found["compare"], self.value(found["left"]), self.value(found["right"]))
            self.all(found["then"] if holds else found["otherwise"] or "")
        elif (found := _SET.fullmatch(statement)) is not None:
            self.set(found["field"], found["operator"], self.value(found["value"]), statement)
        elif (found := _COUNT.fullmatch(statement)) is not None:
            self.set(found["field"], found["operator"][0] + "=", 1, statement)
        elif (found := _OP.fullmatch(statement)) is not None:
            self.op = found["single"] or found["double"]
        elif (found := _REMOVE.fullmatch(statement)) is not None:
            holder = self.holder(_path(found["object"]), statement)
            holder.pop(found["single"] if found["single"] is not None else found["double"], None)

    def value(self, text: str) -> Any:
        if text.startswith("ctx."):
            *parents, last = _path(text)
            return self.holder(parents, text).get(last)
        if text.startswith("params."):
            return self.script.params.get(text.removeprefix("params."))
        if text[0] in "'\"":
            return text[1:-1]
        words = {"true": True, "false": False, "null": None}
        return words[text] if text in words else json.loads(text.rstrip("lLfFdD"))

    def set(self, target: str, operator: str, value: Any, statement: str) -> None:
        *parents, last = _path(target)
        holder = self.holder(parents, statement)
        if operator == "=":
            holder[last] = value
            return
        before = holder.get(last)
        if operator == "+=" and isinstance(before, str):
            holder[last] = before + java_text(value)
        elif _is_number(before) and _is_number(value):
            holder[last] = before + value if operator == "+=" else before - value
        else:
            self.fail(f"cannot apply [{operator}] to [{java_text(before)}] and [{java_text(value)}]", statement)

    def holder(self, parents: list[str], statement: str) -> dict[str, Any]:
        inner: Any = self.source
        for name in parents:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            self.fail(f"[{'.'.join(parents)}] is no object", statement)
        found: dict[str, Any] = inner
        return found

    def fail(self, reason: str, statement: str) -> None:
        raise ScriptFailed("runtime error", metadata=self.script._about([statement]), cause=IllegalArgument(reason))


def _path(text: str) -> list[str]:
    return ["".join(step) for step in _STEP.findall(text.removeprefix("ctx._source"))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compare(operator: str, left: Any, right: Any) -> bool:
    if operator in ("==", "!="):
        return bool((left == right) is (operator == "=="))
    if type(left) is not type(right) and not (_is_number(left) and _is_number(right)):
        return False
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator])


def parse_script(given: Any) -> Script:
    """The `script` of a body: the source alone, or an object.

    Raises:
        BodyUnreadable, IllegalArgument: it is neither.
    """
    if isinstance(given, str):
        return Script(given)
    if not isinstance(given, dict):
        raise IllegalArgument("Script value should be a String or a Map")
    for name in ("source", "lang", "id"):
        if not isinstance(given.get(name), str | None):
            raise BodyUnreadable(f"Value must be of type String: [{name}]")
    if not isinstance(given.get("params"), dict | None):
        raise BodyUnreadable("Value must be of type Map: [params]")
    if given.get("id") is not None:
        return Script("", stored_id=given["id"])
    if given.get("source") is None:
        raise BodyUnreadable("Expected one of [source] or [id] fields, but found none")
    return Script(given["source"], given.get("lang") or "painless", given.get("params") or {})
