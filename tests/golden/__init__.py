"""Numbers recorded from Detectron2, for where it is not installed. ``make golden`` records anew."""
