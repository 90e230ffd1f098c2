"""Look for the smallest change with which a network fits a chip: one package behind ``qsnnc fit``."""
