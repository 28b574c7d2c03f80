"""A matrix of models and engines, measured every night and compared with the nights before."""
