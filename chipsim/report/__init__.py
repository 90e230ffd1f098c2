"""Tables, files and figures made from the result of a run."""
