"""``python -m mmgen.cli``: the same as ``mmgen``."""

import sys

from mmgen.cli import main

sys.exit(main())
