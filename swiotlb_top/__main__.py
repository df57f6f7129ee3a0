"""``python -m swiotlb_top``."""

import sys

from swiotlb_top.cli import main

sys.exit(main())
