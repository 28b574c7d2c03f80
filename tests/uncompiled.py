"""Detectron2 as a source tree that is not compiled."""

from __future__ import annotations

import sys
import types
from importlib.util import find_spec


def offer_deformable_convolutions() -> None:
    """Let Detectron2's own deformable convolution be used where it is not compiled.

    On a CPU it calls torchvision's operator, and its compiled part never; but without that part it
    offers a class that only raises. To be called before Detectron2's layers are imported.
    """
    name = "detectron2._C"
    if name in sys.modules or find_spec("detectron2") is None or find_spec(name) is not None:
        return
    sys.modules[name] = types.ModuleType(name)
