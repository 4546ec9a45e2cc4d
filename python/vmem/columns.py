"""Tables of rows as files: CSV, and Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from vmem.errors import ConfigError


def to_csv(kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> bytes:
    """A head line of the struct's fields, then a line for each; empty cells for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(kind.__struct_fields__)
    writer.writerows(msgspec.to_builtins(rows))
    return text.getvalue().encode()


def to_parquet(kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> bytes:
    """The same columns, typed by the struct: runs have equal schemas, whatever is in them."""
    arrow = pyarrow()
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
    schema = []
    for field in msgspec.structs.fields(kind):
        (basic,) = {*(get_args(field.type) or (field.type,))} - {type(None)}
        schema.append((field.name, types[basic]))
    columns = {name: [getattr(row, name) for row in rows] for name, _ in schema}
    return columns_to_parquet(columns, arrow.schema(schema))


def columns_to_parquet(columns: Mapping[str, Sequence[Any]], schema: object = None) -> bytes:
    """Columns by name; their types follow from their values without a schema."""
    arrow = pyarrow()
    from pyarrow import parquet

    written = io.BytesIO()
    parquet.write_table(arrow.table(dict(columns), schema=schema), written)
    return written.getvalue()


def pyarrow() -> Any:
    """The module. ConfigError without it."""
    try:
        import pyarrow as arrow
    except ModuleNotFoundError:
        raise ConfigError("--parquet: pyarrow is not installed (pip install 'vmem-sim[parquet]')") from None
    return arrow
