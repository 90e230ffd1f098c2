"""Explore a space of chips: compile networks onto each of them, measure, and find the best (docs/scale.md).

`space` reads the file that describes the chips, `evaluate` is the task that compiles and measures some of them, `explore`
makes the tasks and collects the rows, `front`, `table` and `plots` make of them what is written.
"""
