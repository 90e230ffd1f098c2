"""From a path to a checked model. What is not understood is refused here, by name."""
