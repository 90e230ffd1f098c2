"""Rewrite operators of integers and of other domains as standard float operators, bit for bit."""
