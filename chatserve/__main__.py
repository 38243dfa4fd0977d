"""`python -m chatserve` is `chatserve`."""

import sys

from chatserve.cli import main

if __name__ == "__main__":
    sys.exit(main())
