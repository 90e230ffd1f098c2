"""Four networks trained on the digits with other people's quantizers and written by other people's exporters."""
