"""A training resolved, carried out, evaluated; its dry run."""
