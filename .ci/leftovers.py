"""Refuse what merging and debugging leave behind: conflict markers in any file, and files that nobody means to keep.

``python .ci/leftovers.py [DIRECTORY]`` prints one line for each and exits 1 if there is any. It looks at every file that git
tracks or would add, and at ignored files outside ignored directories (so not into ``.venv/`` or ``runs/``).
"""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

#: reproductions of `qsnnc verify --repro`, and what merge and patch tools write beside a file; .gitignore has them too
NAMES = ("*.repro.*", "*.orig", "*.rej")
MARKER = re.compile(rb"^(<{7} |>{7} |\|{7} |={7}\r?$)", re.MULTILINE)


def files(root: Path, *options: str) -> list[str]:
    """Paths below ``root`` that ``git ls-files`` prints."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--exclude-standard", *options]
    return [name for name in subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0") if name]


def leftovers(root: Path) -> list[str]:
    """One line for each file or marker that has to go; none for a tidy directory."""
    kept = [name for name in files(root, "--cached", "--others") if (root / name).is_file()]
    ignored = files(root, "--others", "--ignored", "--directory")
    found = [
        f"{name}: left over; remove it"
        for name in sorted({*kept, *ignored})
        if any(fnmatch.fnmatch(Path(name).name, pattern) for pattern in NAMES)
    ]
    for name in kept:
        content = (root / name).read_bytes()
        if b"\0" not in content:
            lines = (content.count(b"\n", 0, match.start()) + 1 for match in MARKER.finditer(content))
            found += [f"{name}:{line}: merge marker; resolve the conflict" for line in lines]
    return found


def main() -> int:
    """Print what is left over; 1 if there is any."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    try:
        found = leftovers(root)
    except (OSError, subprocess.CalledProcessError):
        print(f"{root}: not a git working tree; left-over files are not looked for", file=sys.stderr)
        return 0
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
