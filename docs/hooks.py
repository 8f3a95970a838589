"""What the pages say that only the programs know: the help texts of the commands."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
from typing import Any


def help_of(command: str) -> str:
    """Return what ``command --help`` prints at 100 columns, e.g. of ``"topograph inspect"``."""
    program, *words = command.split()
    main = importlib.import_module(f"{program}.cli").main
    printed = io.StringIO()
    os.environ["COLUMNS"] = "100"
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return printed.getvalue()


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put a command's help text where a page says ``<!-- help: command -->``."""

    def section(found: re.Match[str]) -> str:
        return f"## {found[1]}\n\n```text\n{help_of(found[1])}```\n"

    return re.sub(r"<!-- help: (.+?) -->", section, markdown)
