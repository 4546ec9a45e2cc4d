"""From tables of a TOML document to structs, with errors that say where, what, and what is accepted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from vmem.durations import parse_duration
from vmem.errors import ConfigError
from vmem.sizes import parse_size

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True)
class Place:
    """A place in a document: vm[1].memory of a file."""

    file: str
    path: str = ""
    base: Path = Path()
    """What names of files in it are relative to."""

    def key(self, name: str) -> Place:
        return replace(self, path=f"{self.path}.{name}" if self.path else name)

    def index(self, number: int) -> Place:
        return replace(self, path=f"{self.path}[{number}]")

    def __str__(self) -> str:
        return f"{self.file}: {self.path}" if self.path else self.file

    def reject(self, value: object, accepted: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(f"{self}: {show(value)}; accepted is {accepted}")


Decode = Callable[[Any, Place], Any]


def show(value: object) -> str:
    """A value of a document, not longer than helps."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def names(choices: Iterable[str]) -> str:
    """ "a, b or c", quoted."""
    *most, last = [f'"{choice}"' for choice in choices]
    return f"{', '.join(most)} or {last}" if most else last


def decode_size(value: object, at: Place) -> int:
    """Bytes."""
    return parse_size(value, str(at))  # type: ignore[arg-type]


def decode_duration(value: object, at: Place) -> int:
    """Nanoseconds."""
    return parse_duration(value, str(at))  # type: ignore[arg-type]


def decode_table(kind: type[T], table: object, at: Place) -> T:
    """A struct of a table. Raises ConfigError for unknown, missing and wrong keys.

    What a key accepts is the `description` of its type's Meta; `extra={"decode": f}` decodes it otherwise.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if not isinstance(table, dict):
        at.reject(table, f"a table with {', '.join(fields)}")
    for key in table:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f", did you mean {near[0]!r}?" if near else "."
            raise ConfigError(f"{at.key(key)}: unknown key{hint} Accepted are {', '.join(fields)}")
    for key, field in fields.items():
        if field.required and key not in table:
            raise ConfigError(f"{at.key(key)}: missing; needed is {_annotated(field.type)[1].description}")
    return kind(**{key: _decode_value(fields[key].type, value, at.key(key)) for key, value in table.items()})


def decode_nested(kind: type[T]) -> Decode:
    """Decodes one table."""
    return lambda value, at: decode_table(kind, value, at)


def decode_tables(kind: type[T]) -> Decode:
    """Decodes an array of at least one table."""

    def decode(value: object, at: Place) -> tuple[T, ...]:
        if not isinstance(value, list) or not value:
            header = re.sub(r"\[\d+\]", "", at.path)
            at.reject(value, f"one or more tables, each after [[{header}]]")
        return tuple(decode_table(kind, table, at.index(i)) for i, table in enumerate(value))

    return decode


def _annotated(annotation: object) -> tuple[object, Meta]:
    """The annotated type in a type or an optional one, and its Meta."""
    found = annotation if get_origin(annotation) is Annotated else get_args(annotation)[0]
    return found, next(extra for extra in get_args(found) if isinstance(extra, Meta))


def _decode_value(annotation: object, value: object, at: Place) -> Any:
    kind, meta = _annotated(annotation)
    if meta.extra is not None:
        return meta.extra["decode"](value, at)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        at.reject(value, str(meta.description))


Bytes = Annotated[int, Meta(description='a size such as "512MiB"', extra={"decode": decode_size})]
Nanoseconds = Annotated[
    int, Meta(description='a duration such as "150ms"', extra={"decode": decode_duration})
]
