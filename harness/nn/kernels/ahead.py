"""Imported before the kernels compute: by a process whose copies will, or beside other work.

Triton finds a compiled kernel by a hash of all of Triton, with a library of several hundred MB, and
makes that hash once in each process. A copy of a process that has it needs to do none of this.
"""

from __future__ import annotations

from contextlib import suppress

# Work at import, which is all that a server of processes does for its copies. Whatever a broken
# Triton raises, the engine meets again, and reports.
with suppress(Exception):
    import harness.nn.kernels.operators  # noqa: F401
with suppress(Exception):  # other versions keep it elsewhere
    from triton.runtime.cache import triton_key

    triton_key()
