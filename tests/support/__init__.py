"""What several tests share: networks, mappings by hand, and independent models to hold the program against."""
