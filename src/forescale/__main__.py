"""`python -m forescale`."""

import sys

from forescale.cli.main import main

sys.exit(main())
