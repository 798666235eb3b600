"""Seeds that once failed because of a bug in FileFlux, and why. Every run repeats them."""

from typing import Final

CORPUS: Final[dict[int, str]] = {}
