"""`python -m zoo_cli`, as launchers of several processes start it."""

import sys

from zoo_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
