"""An audit record as one line of JSON, as exports, archives and readers have it. Pure.

A CloudEvent in JSON structured mode: the numbers that travel in a topic's headers, then the members
of the stored record, its own bytes:

    position   20 digits   place in the stream set, from 1 without gaps
    stream     32 hex      the bucket's id; zeros: what belongs to no bucket
    sequence   20 digits   place among the stream's records, from 1 without gaps
    prevhash   64 hex      h(n-1)

Their order and width are fixed and there is no space, so what follows them, with a brace before it,
is the stored record to the byte; the chain proves it. Numbers are texts, as in Kafka's headers:
CloudEvents' Integer has 32 bits.
"""

import re
from typing import Any, Final

import orjson

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId
from fileflux.events.audit import NUMBER_DIGITS
from fileflux.metadata.chain import NumberedRecord

NUMBERS: Final = ("position", "stream", "sequence", "prevhash")
_NUMBERS: Final = re.compile(
    rb'\{"position":"(\d{20})","stream":"([0-9a-f]{32})","sequence":"(\d{20})",'
    rb'"prevhash":"([0-9a-f]{64})",'
)


def structured(record: NumberedRecord) -> bytes:
    """Return the line without its end; raise EventInvalid for what is no audit record."""
    if record.payload[:2] != b'{"':
        raise EventInvalid(f"position {record.position} is no audit record")
    numbers = (
        f'{{"position":"{record.position:0{NUMBER_DIGITS}}","stream":"{record.stream.hex()}",'
        f'"sequence":"{record.sequence:0{NUMBER_DIGITS}}",'
        f'"prevhash":"{record.previous_hash.hex()}",'
    )
    return numbers.encode() + record.payload[1:]


def line_of(record: NumberedRecord) -> bytes:
    """Return the line with its line feed."""
    return structured(record) + b"\n"


def decode_line(line: bytes) -> NumberedRecord:
    """Return what `structured` wrote; raise EventInvalid for another form."""
    found = _NUMBERS.match(line)
    if found is None:
        raise EventInvalid("not a line of an audit segment")
    return NumberedRecord(
        position=int(found[1]),
        stream=BucketId(bytes.fromhex(found[2].decode())),
        sequence=int(found[3]),
        previous_hash=bytes.fromhex(found[4].decode()),
        payload=b"{" + line[found.end() :],
    )


def record_of_line(line: bytes, number: int) -> NumberedRecord:
    """Return the record of line `number` of a file, also of one that was reformatted since.

    Its records are then encoded again as they were. Raise EventInvalid for anything else.
    """
    if _NUMBERS.match(line):
        return decode_line(line.rstrip())
    try:
        return _reformatted(orjson.loads(line))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EventInvalid(f"line {number} is no exported audit record: {error!r}") from error


def _reformatted(event: dict[str, Any]) -> NumberedRecord:
    numbers = {name: event.pop(name) for name in NUMBERS}
    return NumberedRecord(
        position=int(numbers["position"]),
        stream=BucketId(bytes.fromhex(numbers["stream"])),
        sequence=int(numbers["sequence"]),
        previous_hash=bytes.fromhex(numbers["prevhash"]),
        payload=orjson.dumps(event),
    )
