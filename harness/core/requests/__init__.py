"""What a user asks for, typed. Flags and files only fill these in; every field is one option."""
