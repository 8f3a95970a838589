"""The same mutations of the seeds every time, without a fuzzer: ``python -m tests.fuzz.replay``."""

from __future__ import annotations

import random
import sys

from tests.fuzz import targets

_BYTES = (0, 1, 0x28, 0x29, 0x2E, 0x52, 0x62, 0x68, 0x71, 0x74, 0x7F, 0x80, 0x85, 0x93, 0xFF)


def mutated(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return a neighbour of one seed: bytes set, a part left out, doubled or taken from another."""
    held = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        start = chance.randrange(len(held) + 1)
        end = min(len(held), start + chance.choice((1, 2, 4, 8, 64)))
        way = chance.randrange(5)
        if way == 0:
            held[start:end] = bytes(chance.choice(_BYTES) for _ in range(end - start))
        elif way == 1:
            held[start:end] = b""
        elif way == 2:
            held[start:start] = held[start:end] * chance.choice((1, 2, 50))
        elif way == 3 and other:
            cut = chance.randrange(len(other))
            held[start:end] = other[cut : cut + chance.choice((1, 4, 16, 64))]
        elif held:
            held[start % len(held)] ^= 1 << chance.randrange(8)
    return bytes(held)


def main(count: int) -> None:
    """Run every target on its seeds and on ``count`` mutations of them."""
    for target, run in targets.TARGETS.items():
        chance = random.Random(target)
        found = targets.seeds(target)
        for content in found:
            run(content)
        for number in range(count):
            content = mutated(chance.choice(found), chance.choice(found), chance)
            try:
                run(content)
            except BaseException as error:
                text = f"{target}, mutation {number}: {error!r}, from {content[:4000]!r}"
                raise SystemExit(text) from error
    sys.stdout.write("nothing found\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
