"""Memory traces: reading, converting and recording them. The guide is docs/guides/traces.md."""

from vmem.traces.convert import WRITABLE, convert
from vmem.traces.formats import FORMATS
from vmem.traces.model import RUN_DTYPE, Item, MapEvent, References, Region, Runs, Totals
from vmem.traces.record import RecordingResult, record
from vmem.traces.shipped import shipped
from vmem.traces.trace import Trace

__all__ = [
    "FORMATS",
    "RUN_DTYPE",
    "WRITABLE",
    "Item",
    "MapEvent",
    "RecordingResult",
    "References",
    "Region",
    "Runs",
    "Totals",
    "Trace",
    "convert",
    "record",
    "shipped",
]
