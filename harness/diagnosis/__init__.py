"""Why an AP is what it is: known faults of predictions, undone one by one and scored again."""
