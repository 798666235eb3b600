"""Cutting a stream at the borders of its chunks."""

from hypothesis import given
from hypothesis import strategies as st

from fileflux.ingest.chunker import cut_at_borders


@given(pieces=st.lists(st.binary(max_size=50)), chunk_size=st.integers(1, 40))
def test_the_runs_are_the_stream_cut_at_every_border_and_nowhere_across(
    pieces: list[bytes], chunk_size: int
) -> None:
    chunks: dict[int, bytes] = {}
    position = 0
    for piece in pieces:
        for number, run in cut_at_borders(piece, position, chunk_size):
            assert len(run) > 0
            chunks[number] = chunks.get(number, b"") + bytes(run)
        position += len(piece)
    stream = b"".join(pieces)

    expected = [stream[at : at + chunk_size] for at in range(0, len(stream), chunk_size)]
    assert [chunks[number] for number in sorted(chunks)] == expected
    assert sorted(chunks) == list(range(len(expected)))


def test_runs_share_the_memory_of_their_piece() -> None:
    piece = bytearray(b"abcdef")
    runs = [run for _, run in cut_at_borders(piece, 3, 4)]
    piece[0] = ord("X")

    assert [bytes(run) for run in runs] == [b"X", b"bcde", b"f"]
