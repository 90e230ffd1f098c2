"""Spiking networks of several steps, trained in snntorch and exported as NIR."""
