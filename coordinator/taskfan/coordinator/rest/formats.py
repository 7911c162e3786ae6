"""An answer as bytes: JSON as it comes, or filtered, indented, or in another format. Pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from taskfan.coordinator.rest.errors import FormatNotServed
from taskfan.coordinator.rest.filter_path import PathFilter
from taskfan.coordinator.rest.messages import JSON, TEXT, Answer
from taskfan.node.index.by_scroll_status import float32

_encode = msgspec.json.Encoder().encode
_CONTENT_TYPES = {
    "json": JSON,
    "yaml": "application/yaml",
    "cbor": "application/cbor",
    "smile": "application/smile",
}
_YAML_TEXT = "tag:yaml.org,2002:str"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.:/-]+")
# Clients say the same again and again, in few ways; a value may be as long as a header, so not many are kept.
CACHED_VALUES = 32
# OpenSearch's http.compression_level.
_COMPRESSION_LEVEL = 3


class Options(msgspec.Struct, frozen=True):
    """How the client wants its answer; errors are never filtered."""

    pretty: bool = False
    human: bool = False
    error_trace: bool = False
    format: str | None = None
    filter_path: PathFilter | None = None


PLAIN = Options()


def of_format(name: str | None) -> str | None:
    """The format a `format` parameter names, or None. Source: `MediaType.fromFormat`."""
    name = name.lower() if name else None
    return name if name in _CONTENT_TYPES else None


@lru_cache(CACHED_VALUES)
def of_media_type(header: str | None) -> str | None:
    """The format of a Content-Type or Accept header, or None. Source: `MediaType.fromMediaType`."""
    if not header:
        return None
    media_type = header.lower().partition(";")[0].strip().replace("vnd.opensearch+", "")
    if media_type == "application/x-ndjson" or media_type.startswith("application/*"):
        return "json"
    kind, _, name = media_type.partition("/")
    return name if kind == "application" and name in _CONTENT_TYPES else None


def choose(options: Options, accept: str | None, body_type: str | None) -> str:
    """The format of an answer: by parameter, by Accept, as the body of the request, or JSON.

    Source: OpenSearch `AbstractRestChannel.newBuilder`.
    """
    if options.format is None and accept is None and body_type is None:
        return "json"
    return of_format(options.format) or of_media_type(accept) or of_media_type(body_type) or "json"


def write(answer: Answer, options: Options, format: str) -> tuple[str, list[bytes]]:
    """The content type and the body of an answer.

    Raises:
        FormatNotServed: smile.
        IllegalArgument: the filter asks for nothing.
    """
    if answer.is_text:
        return TEXT, answer.parts
    if format == "json" and not options.pretty and options.filter_path is None:
        return JSON, answer.parts
    value = msgspec.json.decode(b"".join(answer.parts)) if answer.parts else None
    if options.filter_path is not None:
        value = options.filter_path.apply(value)
        if value is None:
            return _CONTENT_TYPES[format], []
    return write_value(value, options, format)


def write_value(value: Any, options: Options, format: str) -> tuple[str, list[bytes]]:
    """A JSON value in a format. Raises FormatNotServed."""
    if format == "json":
        return JSON, [pretty(value)] if options.pretty else [_encode(value)]
    if format == "smile":
        raise FormatNotServed(format)
    return _CONTENT_TYPES[format], [_yaml(value) if format == "yaml" else _cbor(value)]


def pretty(value: Any) -> bytes:
    """JSON as Jackson indents it: ` : ` after names, a blank inside what is empty, a line feed at the end."""
    return b"".join([*_indented(value, b"\n"), b"\n"])


def _indented(value: Any, line: bytes) -> Iterator[bytes]:
    if not isinstance(value, dict | list):
        yield _encode(value)
        return
    opening, closing = (b"{", b"}") if isinstance(value, dict) else (b"[", b"]")
    if not value:
        yield opening + b" " + closing
        return
    inner = line + b"  "
    separator = opening
    items: Iterable[tuple[bytes, Any]] = (
        ((_encode(name) + b" : ", item) for name, item in value.items())
        if isinstance(value, dict)
        else ((b"", item) for item in value)
    )
    for name, item in items:
        yield separator + inner + name
        yield from _indented(item, inner)
        separator = b","
    yield line + closing


def _cbor(value: Any) -> bytes:
    # Few ask for it, and a member should not pay for what nobody asks for.
    import cbor2

    return cbor2.dumps(_with_java_floats(value))


def _with_java_floats(value: Any) -> Any:
    """The same with numbers as exact as Java's float has them; JSON and YAML show the shortest text of those."""
    if isinstance(value, list):
        return [_with_java_floats(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: float32(item) if name == "requests_per_second" and isinstance(item, float) else _with_java_floats(item)
        for name, item in value.items()
    }


def _yaml(value: Any) -> bytes:
    """YAML as Jackson writes it: texts quoted, names only where they must be."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

        def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
            node = super().represent_mapping(tag, mapping, flow_style)
            for key, _ in node.value:
                is_text = self.resolve(yaml.ScalarNode, key.value, (True, False)) == _YAML_TEXT  # type: ignore[no-untyped-call]
                if is_text and _PLAIN_NAME.fullmatch(key.value):
                    key.style = None
            return node

    Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(_YAML_TEXT, text, style='"'))
    dumped: str = yaml.dump(
        value,
        Dumper=Dumper,
        sort_keys=False,
        explicit_start=True,
        allow_unicode=True,
        width=1 << 30,
        default_flow_style=False,
    )
    return dumped.encode()


def read_value(body: bytes, format: str) -> Any:
    """The value of a body. Raises ValueError."""
    if format == "smile":
        raise ValueError("taskfan does not read [smile]")
    if format == "cbor":
        import cbor2

        try:
            return cbor2.loads(body)
        except (cbor2.CBORDecodeError, RecursionError) as error:
            raise ValueError(str(error)) from None
    if format == "yaml":
        import yaml

        try:
            return yaml.safe_load(body)
        except (yaml.YAMLError, RecursionError) as error:
            raise ValueError(str(error)) from None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


# ------------------------------------------------------------------ compression


@lru_cache(CACHED_VALUES)
def accepted_encoding(header: str | None) -> str | None:
    """`gzip`, `deflate` or None, by an Accept-Encoding header. Source: Netty `HttpContentCompressor`."""
    if not header:
        return None
    star = gzip = deflate = -1.0
    for item in header.lower().split(","):
        quality = _quality(item)
        if "*" in item:
            star = quality
        elif "gzip" in item:
            gzip = max(gzip, quality)
        elif "deflate" in item:
            deflate = max(deflate, quality)
    if gzip > 0 or deflate > 0:
        return "gzip" if gzip >= deflate else "deflate"
    if star > 0:
        return "gzip" if gzip == -1 else "deflate" if deflate == -1 else None
    return None


def _quality(item: str) -> float:
    _, equals, number = item.partition("=")
    try:
        return float(number) if equals else 1.0
    except ValueError:
        return 0.0


def compress(parts: Iterable[bytes], encoding: str) -> list[bytes]:
    """The body in `gzip` or `deflate`, in pieces."""
    compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
    return [piece for piece in (*map(compressor.compress, parts), compressor.flush()) if piece]


def decompress(body: bytes, encoding: str, limit_bytes: int) -> bytes | None:
    """A body that was sent in `gzip` or `deflate`; None when it is larger than the limit.

    Raises:
        ValueError: it is broken, or ends too early.
    """
    wbits = 47 if encoding in ("gzip", "x-gzip") else 15 if body[:1] == b"\x78" else -15
    decompressor = zlib.decompressobj(wbits)
    try:
        whole = decompressor.decompress(body, limit_bytes + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(whole) > limit_bytes:
        return None
    if not decompressor.eof:
        raise ValueError("the compressed body ends too early")
    return whole
