"""Generative models of observations: features and world models for exploration."""
