"""Damage to files, decided by a seed: what disks, networks, editors and other programs do to them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import NamedTuple


class Damaged(NamedTuple):
    """Content after damage; ``kind`` names the damage.

    ``lossless`` damage changes no content of a text file; ``cut`` content is a part of the original, so that all that
    is read has to be in the original, too.
    """

    kind: str
    content: bytes
    lossless: bool = False
    cut: bool = False


NUMBER = re.compile(rb"-?\d+\.?\d*(?:[eE][+-]?\d+)?")
STRANGE = (b"nan", b"inf", b"-inf", b"********", b"1e999", b"-1", b"0", b"999999999999", b"1,5", b"", b"None", b"1.2.3")


def damage(content: bytes, seed: int, *, text: bool) -> Damaged:
    """The content with one kind of damage, the same for the same seed."""
    rng = random.Random(seed)
    kinds = BINARY + TEXT if text else BINARY
    kind = kinds[seed % len(kinds)]
    return kind(content, rng)


def truncate(content: bytes, rng: random.Random) -> Damaged:
    return Damaged("truncate", content[: rng.randrange(len(content) + 1)], cut=True)


def flip_bit(content: bytes, rng: random.Random) -> Damaged:
    return Damaged("flip_bit", _flipped(content, rng, 1))


def flip_bits(content: bytes, rng: random.Random) -> Damaged:
    return Damaged("flip_bits", _flipped(content, rng, 8))


def flip_bit_in_head(content: bytes, rng: random.Random) -> Damaged:
    return Damaged("flip_bit_in_head", _flipped(content[:256], rng, 1) + content[256:])


def _flipped(content: bytes, rng: random.Random, count: int) -> bytes:
    data = bytearray(content)
    for _ in range(count):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def insert_bytes(content: bytes, rng: random.Random) -> Damaged:
    at = rng.randrange(len(content) + 1)
    return Damaged("insert_bytes", content[:at] + rng.randbytes(rng.randrange(1, 9)) + content[at:])


def delete_bytes(content: bytes, rng: random.Random) -> Damaged:
    at = rng.randrange(len(content))
    return Damaged("delete_bytes", content[:at] + content[at + rng.randrange(1, 9) :])


def zero_block(content: bytes, rng: random.Random) -> Damaged:
    at = rng.randrange(len(content))
    length = min(rng.choice((4, 64, 512)), len(content) - at)
    return Damaged("zero_block", content[:at] + b"\0" * length + content[at + length :])


def append_garbage(content: bytes, rng: random.Random) -> Damaged:
    return Damaged("append_garbage", content + rng.randbytes(rng.randrange(1, 200)))


def move_block(content: bytes, rng: random.Random) -> Damaged:
    first, last = sorted(rng.randrange(len(content)) for _ in range(2))
    rest = content[:first] + content[last:]
    at = rng.randrange(len(rest) + 1)
    return Damaged("move_block", rest[:at] + content[first:last] + rest[at:])


def drop_lines(content: bytes, rng: random.Random) -> Damaged:
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return Damaged("drop_lines", b"".join(lines[:at] + lines[at + rng.randrange(1, 4) :]))


def double_line(content: bytes, rng: random.Random) -> Damaged:
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    return Damaged("double_line", b"".join(lines[: at + 1] + lines[at:]))


def swap_lines(content: bytes, rng: random.Random) -> Damaged:
    lines = content.splitlines(keepends=True)
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return Damaged("swap_lines", b"".join(lines))


def strange_number(content: bytes, rng: random.Random) -> Damaged:
    places = list(NUMBER.finditer(content))
    if not places:
        return Damaged("strange_number", content)
    place = rng.choice(places)
    return Damaged("strange_number", content[: place.start()] + rng.choice(STRANGE) + content[place.end() :])


def decimal_comma(content: bytes, _: random.Random) -> Damaged:
    return Damaged("decimal_comma", re.sub(rb"(\d)\.(\d)", rb"\1,\2", content))


def windows_lines(content: bytes, _: random.Random) -> Damaged:
    return Damaged("windows_lines", content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), lossless=True)


def byte_order_mark(content: bytes, _: random.Random) -> Damaged:
    return Damaged("byte_order_mark", b"\xef\xbb\xbf" + content, lossless=True)


def blank_end(content: bytes, rng: random.Random) -> Damaged:
    return Damaged("blank_end", content + b"\n" * rng.randrange(1, 4), lossless=True)


def no_last_line_end(content: bytes, _: random.Random) -> Damaged:
    return Damaged("no_last_line_end", content.rstrip(b"\n"), lossless=True)


def wide_characters(content: bytes, _: random.Random) -> Damaged:
    return Damaged("wide_characters", content.decode("utf-8", errors="replace").encode("utf-16"))


def empty(_: bytes, rng: random.Random) -> Damaged:
    return Damaged("empty", rng.choice((b"", b"\n", b" \n\n", b"\0" * 100)))


def twice(content: bytes, _: random.Random) -> Damaged:
    return Damaged("twice", content + content)


Kind = Callable[[bytes, random.Random], Damaged]

BINARY: tuple[Kind, ...] = (
    *(truncate, flip_bit, flip_bits, flip_bit_in_head, insert_bytes, delete_bytes, truncate, zero_block),
    *(append_garbage, move_block, flip_bit, empty, truncate),
)
TEXT: tuple[Kind, ...] = (
    *(drop_lines, double_line, swap_lines, strange_number, decimal_comma, windows_lines, byte_order_mark, blank_end),
    *(no_last_line_end, wide_characters, twice, strange_number, drop_lines, strange_number),
)
