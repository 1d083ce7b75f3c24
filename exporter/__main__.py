"""
``python -m exporter`` is the console script by another name.
"""

import sys

from exporter.cli import main

sys.exit(main())
