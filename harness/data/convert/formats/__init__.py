"""Annotation formats, a module each: from files to source annotations, without their images."""
