"""S9: a key is the octets that the client meant, in the signature, for authorization, on disk.

Either it is exact everywhere or the request is refused; no spelling of one key reaches another.
"""

import contextlib
import random
import unicodedata
from typing import Final
from urllib.parse import quote, quote_from_bytes

import pytest
from tests.security.inputs import Inputs
from tests.security.requests import loosely_encoded, random_key, target_of
from tests.security.signing import Wire, ask, sign

from fileflux.ingest import percent
from fileflux.ingest.auth_errors import InvalidURI, KeyTooLong
from fileflux.ingest.parsed_request import KEY_SIZE_BYTES_MAX, RawRequest, parse_request

ODD: Final = (
    b"..",
    b".",
    b"/",
    b"//",
    b"\\",
    b"%",
    b"%2e%2e",
    b"%2F",
    b"%00",
    b"\x00",
    b"\r\n",
    b"~",
    b"+",
    b" ",
    b"?",
    b"#",
    b";",
    b":",
    b"a",
    "é".encode(),
    "\u202e".encode(),
    "\ufeff".encode(),
    "\U0010ffff".encode(),
)
NOT_UTF8: Final = (
    b"\xff",
    b"\x80",
    b"\xc0\xaf",
    b"\xc0\x80",
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xc3",
    b"\xe2\x82",
)


def _odd_key(rng: random.Random) -> bytes:
    return b"".join(rng.choice(ODD) for _ in range(rng.randint(1, 12)))


def _raw(path: bytes) -> RawRequest:
    return RawRequest("PUT", path, b"", ((b"host", b"h"),))


async def _signed_key(key: bytes) -> tuple[Wire, bytes]:
    wire = sign("PUT", f"/bucket/{quote_from_bytes(key, safe='/')}")
    return wire, (await ask(wire)).request.key


async def test_s9_an_odd_key_is_exact_in_signature_and_storage(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.08):
        key = _odd_key(rng)
        wire, stored = await _signed_key(key)

        assert stored == key
        # The path that was signed is the path that will be authorized and stored.
        assert wire.canonical.split("\n")[1] == percent.encode_path(b"/bucket/" + stored)


async def test_s9_every_spelling_of_a_key_is_that_key(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.06):
        key = _odd_key(rng) if rng.random() < 0.5 else random_key(rng).encode()
        spelled = loosely_encoded(b"/bucket/" + key, rng)

        assert parse_request(_raw(spelled)).key == key


async def test_s9_octets_are_utf8_and_exact_or_refused(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.06):
        key = rng.randbytes(rng.randint(1, 6)) + rng.choice((b"", b"a", *NOT_UTF8))
        path = b"/bucket/" + quote_from_bytes(key).encode()
        try:
            key.decode("utf-8")
        except UnicodeDecodeError:
            with pytest.raises(InvalidURI):
                parse_request(_raw(path))
        else:
            assert parse_request(_raw(path)).key == key


async def test_s9_raw_noise_for_a_path_has_one_meaning_or_none(inputs: Inputs) -> None:
    rng = inputs.rng
    alphabet = b"/%.0123456789abcdefABCDEF\\ \x00\r\n?#+~\xc3\xa9\xff"
    for _ in inputs.rounds(0.06):
        noise = bytes(rng.choice(alphabet) for _ in range(rng.randint(0, 20)))
        with contextlib.suppress(InvalidURI):
            request = parse_request(_raw(b"/" + noise))
            again = parse_request(_raw(percent.encode_path(request.path).encode()))
            assert (again.bucket, again.key) == (request.bucket, request.key)


async def test_s9_composed_and_decomposed_letters_are_two_keys(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.01):
        letters = "".join(rng.choice("éñüÅﬁ가") for _ in range(rng.randint(1, 5)))
        composed, decomposed = (
            unicodedata.normalize(form, letters).encode() for form in ("NFC", "NFD")
        )
        assert (await _signed_key(composed))[1] == composed
        assert (await _signed_key(decomposed))[1] == decomposed


async def test_s9_a_key_ends_at_1024_bytes_however_it_is_spelled(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.004):
        unit = rng.choice(("a", "é", "/", "\x00", "🔑"))
        fits = unit * (KEY_SIZE_BYTES_MAX // len(unit.encode()))
        key = fits + "a" * (KEY_SIZE_BYTES_MAX - len(fits.encode()))
        assert len((await ask(sign("PUT", target_of(key, "")))).request.key) == KEY_SIZE_BYTES_MAX
        with pytest.raises(KeyTooLong):
            await ask(sign("PUT", target_of(key + "a", "")))


async def test_s9_a_key_in_the_query_is_decoded_like_one_in_the_path(inputs: Inputs) -> None:
    """Listings name keys in the query (prefix, marker); both must mean the same octets."""
    rng = inputs.rng
    for _ in inputs.rounds(0.02):
        key = random_key(rng)
        raw = RawRequest("GET", b"/bucket", f"prefix={quote(key, safe='')}".encode(), ())
        assert parse_request(raw).param("prefix") == key


async def test_s9_a_bucket_cannot_be_left_by_dots(inputs: Inputs) -> None:
    rng = inputs.rng
    for _ in inputs.rounds(0.02):
        climb = rng.choice((b"/..", b"/%2e%2e", b"/.%2E", b"%2F..", b"/./.."))
        request = parse_request(_raw(b"/bucket" + climb + b"/other/key"))
        assert request.bucket == "bucket"
        assert request.key.endswith(b"../other/key")
