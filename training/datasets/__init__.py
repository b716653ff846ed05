"""Readers of training data in one interface (see base)."""
