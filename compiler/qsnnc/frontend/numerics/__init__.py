"""Facts about float32 arithmetic: exact sums and intervals. Knows no tensor."""
