"""The ``.map`` format: what it holds (`program`), its page (``FORMAT.md``), reading, writing and validation."""
