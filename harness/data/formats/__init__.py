"""Annotation formats, a module each: files in, drawings out. Finding photographs is not theirs."""
