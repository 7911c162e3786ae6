"""What `taskfan load` is to do: a rate and a mix of kinds of work, checked as a whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec

from taskfan.cluster.errors import ConfigError

_FOLDER = Path(__file__).with_name("profiles")
# Latencies are kept one by one until the summary: this and the seconds that it may last bound how many.
MAX_RATE = 2000

_Count = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
_Weight = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="search"):
    """A search for some words or a range, of up to `size` hits."""

    weight: _Weight = 1
    size: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 10


class Bulk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="bulk"):
    """A bulk that writes so many documents, over those that are there."""

    weight: _Weight = 1
    documents: _Count = 100


class Reindex(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="reindex"):
    """A reindex into a second index. `requests_per_second` -1 is without throttle; `batch` is documents at a time."""

    weight: _Weight = 1
    max_docs: _Count = 500
    slices: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    batch: _Count = 100
    requests_per_second: Annotated[float, msgspec.Meta(ge=-1, le=1_000_000)] = -1


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="plan"):
    """Simulated work: the plan itself, or the name of one that ships with taskfan."""

    plan: str | dict[str, Any]
    weight: _Weight = 1


Kind = Search | Bulk | Reindex | Plan


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The index that is searched and written; reindexes copy it to `{name}-copy`. Made if it is not there."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,99}$")] = "load"
    shards: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    replicas: Annotated[int, msgspec.Meta(ge=0, le=10)] = 1
    documents: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000


class LoadProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Operations a second, drawn from `mix` by weight; never more than `in_flight` at once."""

    rate: Annotated[float, msgspec.Meta(gt=0, le=MAX_RATE)]
    mix: Annotated[tuple[Kind, ...], msgspec.Meta(min_length=1, max_length=100)]
    in_flight: Annotated[int, msgspec.Meta(ge=1, le=256)] = 32
    index: Index = Index()


def profile_names() -> list[str]:
    """The profiles that ship with taskfan, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_profile(name: str) -> LoadProfile:
    """The profile in a file, or the shipped one of that name. Raises ConfigError, which names the field."""
    import yaml

    from taskfan.cluster.yaml_text import read_yaml

    path = Path(name)
    if not path.is_file():
        if name not in profile_names():
            known = ", ".join(profile_names())
            raise ConfigError(f"There is no file [{name}], and no profile of that name ships with taskfan ({known}).")
        path = _FOLDER / f"{name}.yaml"
    try:
        return read_profile(read_yaml(path.read_text(encoding="utf-8")), name)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"Cannot read {name}: {' '.join(str(error).split())}.") from None


def read_profile(values: object, name: str = "profile") -> LoadProfile:
    """Check a whole profile. Raises ConfigError: `name: path of the field: what is wrong`."""
    try:
        profile = msgspec.convert(values, LoadProfile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_explain(str(error))}") from None
    for place, kind in enumerate(profile.mix):
        if isinstance(kind, Reindex) and kind.requests_per_second in range(-1, 1) and kind.requests_per_second != -1:
            raise ConfigError(f"{name}: mix[{place}].requests_per_second: must be positive, or -1 for no throttle")
        if isinstance(kind, Reindex) and kind.max_docs < kind.slices:
            raise ConfigError(f"{name}: mix[{place}].max_docs: must be at least one for each slice")
        if isinstance(kind, Plan):
            _check_plan(kind.plan, f"{name}: mix[{place}].plan")
    return profile


def _check_plan(plan: str | dict[str, Any], where: str) -> None:
    from taskfan.node.errors import IllegalArgument
    from taskfan.node.work_check import plan_work

    try:
        # Which nodes there are, only the cluster knows.
        plan_work(plan_body(plan, where), lambda _: ["a node"])
    except IllegalArgument as error:
        raise ConfigError(f"{where}: {error}") from None


def plan_body(plan: str | dict[str, Any], where: str = "plan") -> dict[str, Any]:
    """The plan itself. Raises ConfigError if none of that name ships with taskfan."""
    if not isinstance(plan, str):
        return plan
    import yaml

    from taskfan.coordinator.example_plans import example_names, example_path

    path = example_path(plan)
    if path is None:
        raise ConfigError(f"{where}: no plan [{plan}] ships with taskfan ({', '.join(example_names())})")
    body: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return body


def _explain(message: str) -> str:
    """One of msgspec's errors as `path: what is wrong`."""
    what, _, path = message.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    if found := re.fullmatch(r"Object (?:missing required|contains unknown) field `(.*)`", what, re.DOTALL):
        field = f"{path}.{found[1]}" if path else found[1]
        return f"{field}: {'is missing' if 'missing' in what else 'no such field'}"
    if found := re.fullmatch(r"Invalid value '(.*)'", what, re.DOTALL):
        return f"{path}: must be one of [search], [bulk], [reindex], [plan], but was [{found[1]}]"
    return f"{path}: {what.replace('`', '')}" if path else what.replace("`", "")
