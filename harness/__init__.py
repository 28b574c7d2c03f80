"""Proof that COCO numbers of the Detectron2 model zoo reproduce on this machine."""

__version__ = "0.1.0"
