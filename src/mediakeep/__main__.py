"""`python -m mediakeep`: the same as the command `mediakeep`."""

import sys

from mediakeep.cli import main

if __name__ == "__main__":
    sys.exit(main())
