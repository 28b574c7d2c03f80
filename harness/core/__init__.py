"""L0: frozen types and the exception tree. Standard library only; numpy is touched lazily."""
