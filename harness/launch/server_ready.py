"""Imported by the fork server alone, after all else: how its copies begin.

A search for cycles in a copy would write to each of the objects that were imported, and with that
copy the memory which all of them share.
"""

from __future__ import annotations

import gc

# Work at import, as in ``launch.server_process``.
gc.freeze()
gc.enable()
