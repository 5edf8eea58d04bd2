"""`python -m queuectl` is the command `queuectl`."""

import sys

from queuectl.cli import main

sys.exit(main())
