"""What ``python -m pwmpr`` does: the command line."""

import sys

from pwmpr.cli import main

if __name__ == "__main__":
    sys.exit(main())
