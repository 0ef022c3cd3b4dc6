"""`python -m fomo` is `fomo`, where the environment's scripts are not on the path."""

import sys

from fomo.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
