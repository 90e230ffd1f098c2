"""Tables and files of a run, drawn from its one result."""
