"""S12: no XML costs more than its bytes, reads a file, or means what it does not say."""

import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Final

import pytest
from tests.security.inputs import Inputs

from fileflux.ingest.notification_xml import parse_configuration
from fileflux.ingest.s3_errors import S3Error
from fileflux.ingest.s3_xml import parse_complete, parse_create_bucket, parse_delete

SECONDS_MAX: Final = 0.1
MEMORY_MAX: Final = 32 << 20
TRIES: Final = 3
"""The best of them counts, in time of this thread: the machine may be busy with something else."""
PARSERS: Final[tuple[Callable[[bytes], object], ...]] = (
    parse_complete,
    parse_configuration,
    parse_create_bucket,
    parse_delete,
)
NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
PART: Final = b"<Part><PartNumber>%d</PartNumber><ETag>a</ETag></Part>"
COMPLETE: Final = b"<CompleteMultipartUpload>"
DELETE: Final = b"<Delete>"
LAUGHS: Final = b"".join(
    b'<!ENTITY l%d "%s">' % (number, b"&l%d;" % (number - 1) * 10) for number in range(1, 10)
)

BOMBS: Final = {
    "billion laughs": b'<!DOCTYPE a [<!ENTITY l0 "ha">' + LAUGHS + b"]><Delete>&l9;</Delete>",
    "quadratic blow-up": (
        b'<!DOCTYPE a [<!ENTITY a "' + b"a" * 50_000 + b'">]><Delete>' + b"&a;" * 50_000
    ),
    "a file": b'<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/passwd">]><Delete>&f;</Delete>',
    "a parameter entity": b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1/x"> %p;]><Delete/>',
    "a DTD elsewhere": b'<!DOCTYPE Delete SYSTEM "http://127.0.0.1/x.dtd"><Delete/>',
    "an empty DTD": b"<!DOCTYPE Delete><Delete><Object><Key>a</Key></Object></Delete>",
    "an undefined entity": b"<Delete><Object><Key>&nbsp;</Key></Object></Delete>",
    "100,000 parts": COMPLETE + b"".join(PART % number for number in range(1, 60_000)),
    "empty parts": COMPLETE + b"<Part/>" * 500_000,
    "1,000,000 keys": DELETE + b"<Object><Key>a</Key></Object>" * 140_000,
    "deep nesting": COMPLETE + b"<Part>" * 600_000,
    "deep nesting of strangers": b"<a>" * 1_000_000,
    "10 MiB": DELETE + b" " * (10 << 20),
    "a long name": b"<" + b"a" * (4 << 20),
    "a long text": DELETE + b"<Object><Key>" + b"a" * 4_000_000,
    "a long attribute": b"<Delete a='" + b"a" * 4_000_000 + b"'/>",
    "many attributes": b"<Delete " + b" ".join(b'a%d=""' % n for n in range(380_000)) + b"/>",
    "many namespaces": b"<Delete "
    + b" ".join(b'xmlns:a%d="u"' % n for n in range(200_000))
    + b"/>",
    "namespaces in every tag": DELETE
    + b"".join(b'<Object xmlns:a%d=">"><Key>k</Key></Object>' % n for n in range(1000)),
    "a long comment": DELETE + b"<!--" + b"a" * 4_000_000,
    "many comments": DELETE + b"<!--a-->" * 500_000,
    "many instructions": DELETE + b"<?a b?>" * 580_000,
    "empty character data": DELETE + b"<Object><Key>" + b"<![CDATA[]]>" * 340_000,
    "character references": DELETE + b"<Object><Key>" + b"&#97;" * 800_000,
    "UTF-16": '<?xml version="1.0" encoding="utf-16"?><Delete/>'.encode("utf-16"),
    "UTF-16 undeclared": "<Delete/>".encode("utf-16-le"),
    "UTF-32": "<Delete/>".encode("utf-32"),
    "UTF-7": b'<?xml version="1.0" encoding="utf-7"?>+ADw-Delete/+AD4-',
    "UTF-7 in a tag": b'<?xml version="1.0" encoding="utf-7"?><Delete>+ADw-Object/+AD4-</Delete>',
    "EBCDIC": b'<?xml version="1.0" encoding="cp037"?><Delete/>',
    "an encoding nobody has": b'<?xml version="1.0" encoding="klingon"?><Delete/>',
    "a foreign namespace": b'<Delete xmlns="http://example.org/"><Object><Key>a</Key></Object></Delete>',
    "a foreign namespace inside": (
        b'<Delete><Object><Key xmlns="http://example.org/">a</Key></Object></Delete>'
    ),
    "an inclusion": (
        b'<Delete xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="file:///etc/passwd" '
        b'parse="text"/></Delete>'
    ),
    "a style sheet": b'<?xml-stylesheet href="http://127.0.0.1/x"?><Delete/>',
    "two roots": b"<Delete/><Delete/>",
    "bytes": bytes(range(256)),
    "nothing but blanks": b" \n",
    "NUL": b"<Delete>\x00</Delete>",
}


def refusal(parse: Callable[[bytes], object], body: bytes) -> S3Error | None:
    try:
        parse(body)
    except S3Error as error:
        return error
    return None


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_at_once(name: str, inputs: Inputs) -> None:
    for parse in PARSERS:
        inputs.count()
        took_s = []
        for _ in range(TRIES):
            started_s = time.thread_time()
            error = refusal(parse, BOMBS[name])
            took_s.append(time.thread_time() - started_s)

            assert error is not None
            assert error.status == 400, error
        assert min(took_s) < SECONDS_MAX


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_no_memory(name: str, inputs: Inputs) -> None:
    for parse in PARSERS:
        inputs.count()
        tracemalloc.start()
        try:
            refusal(parse, BOMBS[name])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MEMORY_MAX


def test_what_is_not_refused_is_bounded_too() -> None:
    """The largest document that is answered, and what it holds."""
    body = COMPLETE + b"".join(PART % number for number in range(1, 10_001))
    tracemalloc.start()
    try:
        parts = parse_complete(body + b"</CompleteMultipartUpload>")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(parts) == 10_000
    assert peak < MEMORY_MAX


PIECES: Final = (
    *("<Delete>", "</Delete>", "<Object>", "</Object>", "<Key>", "</Key>", "<Quiet>", "</Quiet>"),
    *("<CompleteMultipartUpload>", "</CompleteMultipartUpload>", "<Part>", "</Part>", "<ETag>"),
    *("</ETag>", "<PartNumber>", "</PartNumber>", "<CreateBucketConfiguration>", "<Evil/>"),
    *("</CreateBucketConfiguration>", "<LocationConstraint>", "</LocationConstraint>"),
    *("<!DOCTYPE a>", "<!--", "-->", "<![CDATA[", "]]>", "<?xml version='1.0'?>", "<?a?>"),
    *("&amp;", "&#13;", "&#x0;", "&#xD800;", "&#99999999;", "&a;", "&", "<", ">", "'", '"'),
    *("a", "1", "true", " ", "\n", "\x00", "\ufffe", "é", "🙂", f' xmlns="{NAMESPACE}"', ' a="b"'),
)
DOCUMENTS: Final = (
    b"<Delete><Object><Key>a</Key></Object><Quiet>true</Quiet></Delete>",
    COMPLETE + PART % 1 + PART % 2 + b"</CompleteMultipartUpload>",
    b"<CreateBucketConfiguration><LocationConstraint>eu</LocationConstraint>"
    b"</CreateBucketConfiguration>",
)


def hostile(rng: random.Random) -> bytes:
    """Return pieces in any order, or a good document with some octets changed."""
    if rng.random() < 0.5:
        return "".join(rng.choices(PIECES, k=rng.randrange(1, 20))).encode()
    body = bytearray(rng.choice(DOCUMENTS))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(body))
        body[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
    return bytes(body)


def test_hostile_documents_are_read_or_refused_and_nothing_else(inputs: Inputs) -> None:
    for _ in inputs.rounds(0.1):
        body = hostile(inputs.rng)
        for parse in PARSERS:
            error = refusal(parse, body)

            assert error is None or error.status in (400, 501), (body, error)
