"""Frozen types and the exception tree. Standard library only; numpy is touched lazily."""
