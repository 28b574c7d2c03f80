"""Speed of a model: timed inference, profiles, sweeps over settings."""
