"""`python -m lwta` is `lwta`."""

import sys

from .cli import main

sys.exit(main())
