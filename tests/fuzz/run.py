"""Coverage-guided fuzzing: ``python -m tests.fuzz.run zip corpus/ -max_total_time=600``.

The first argument is one of :data:`tests.fuzz.targets.TARGETS`, the second a folder that grows with
what was found to reach new code; the rest goes to libFuzzer. Needs the extra ``fuzz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["topograph.inspection", "pickletools", "zipfile"]):
    from tests.fuzz import targets


def main(arguments: list[str]) -> None:
    """Fuzz one target until libFuzzer ends the process."""
    target, corpus, *rest = arguments
    folder = Path(corpus)
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(targets.seeds(target)):
        (folder / f"seed-{number:03}").write_bytes(content)
    for content in targets.seeds(target)[:20]:
        targets.TARGETS[target](content)  # imports what readers import late
    atheris.Setup([sys.argv[0], str(folder), *rest], targets.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
