"""Sets of code points as sequences of byte ranges (RFC 3629)."""

from collections.abc import Iterable, Iterator

CodePoints = tuple[tuple[int, int], ...]
"""Disjoint inclusive ranges of code points, ascending."""

LAST_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)
ALL_CODE_POINTS: CodePoints = ((0, SURROGATES[0] - 1), (SURROGATES[1] + 1, LAST_CODE_POINT))
_LAST_OF_LENGTH = (0x7F, 0x7FF, 0xFFFF, LAST_CODE_POINT)


def normalized(ranges: Iterable[tuple[int, int]]) -> CodePoints:
    """The union of the ranges, without surrogates.

    >>> normalized([(98, 99), (97, 97)])
    ((97, 99),)
    """
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        elif low <= high:
            merged.append((low, high))
    return tuple(_without_surrogates(merged))


def _without_surrogates(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for low, high in ranges:
        if low < SURROGATES[0]:
            yield low, min(high, SURROGATES[0] - 1)
        if high > SURROGATES[1]:
            yield max(low, SURROGATES[1] + 1), high


def complement(ranges: CodePoints) -> CodePoints:
    """All other code points."""
    gaps, after = [], 0
    for low, high in ranges:
        gaps.append((after, low - 1))
        after = high + 1
    return normalized([*gaps, (after, LAST_CODE_POINT)])


def encoded_length(first_byte: int) -> int:
    """Bytes of the character that begins so; 1 for a byte that begins none.

    >>> [encoded_length("aé€😀"[i].encode()[0]) for i in range(4)]
    [1, 2, 3, 4]
    """
    return next((4 - k for k, least in enumerate((0xF0, 0xE0, 0xC0)) if least <= first_byte < 0xF8), 1)


def byte_ranges(ranges: CodePoints) -> Iterator[tuple[tuple[int, int], ...]]:
    """Sequences of byte ranges that together spell exactly the code points.

    >>> list(byte_ranges(((0x7F, 0x80),)))
    [((127, 127),), ((194, 194), (128, 128))]
    """
    for low, high in ranges:
        for last in _LAST_OF_LENGTH:
            if low <= last:
                yield from _same_length(low, min(high, last))
                low = last + 1
            if low > high:
                break


def _same_length(low: int, high: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Splits a range of code points of one encoded length where its trailing bytes are not full."""
    for bits in (6, 12, 18):
        mask = (1 << bits) - 1
        if low >> bits != high >> bits:
            if low & mask:
                yield from _same_length(low, low | mask)
                yield from _same_length((low | mask) + 1, high)
                return
            if high & mask != mask:
                yield from _same_length(low, (high & ~mask) - 1)
                yield from _same_length(high & ~mask, high)
                return
    yield tuple(zip(chr(low).encode(), chr(high).encode(), strict=True))
