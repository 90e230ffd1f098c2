"""The errors that a user can cause, as one class hierarchy.

::

    ReportedError
    ├── UsageError        2   an unknown option, chip or data set name
    ├── InputError        3   a file that is missing, unreadable, corrupt or of the wrong shape; an output not written
    │   └── MappingError  3   a ``.map`` that breaks a rule of its format or of its chip
    └── (qsnnc) ModelError 3, DoesNotFit 4

Each error is one line: the object, what was found, what is allowed, what to do. Its ``code`` and ``fields``
are stable, so that no caller has to parse the text.
"""

from __future__ import annotations

from chipsim.codes import Code


class ReportedError(Exception):
    """An error with an object, a stable code and fields; the text is one line.

    Parameters
    ----------
    subject : str
        The object at fault: a layer, a file, an option.
    message : str
        What was found, what is allowed, what to do.
    code : Code
        Stable name of the error, such as ``"data-shape"``; ``explain`` prints its page.
    layer, node, limit, found, allowed : optional
        The facts behind the text, ``None`` where they have no meaning.
    """

    exit_code = 70
    #: lines of code to paste that mend it, where there are some; the command lines print them below the error
    lines: tuple[str, ...] = ()

    def __init__(
        self,
        subject: str,
        message: str,
        *,
        code: Code,
        layer: str | None = None,
        node: str | None = None,
        limit: str | None = None,
        found: object = None,
        allowed: object = None,
    ) -> None:
        self.subject = subject
        self.message = " ".join(message.split())
        self.code: Code = code
        self.fields: dict[str, object] = {
            "layer": layer,
            "node": node,
            "limit": limit,
            "found": found,
            "allowed": allowed,
        }
        super().__init__(f"{printable(subject)}: {printable(self.message)}")

    def shown(self) -> str:
        """Return what the command lines print: the line with its code, and the lines of code to paste."""
        return "\n".join((labelled(self.code, str(self)), *self.lines))

    def rename(self, subject: str, message: str, node: object) -> None:
        """Give the error another object, text and node, for a reader who knows them by other names."""
        self.subject, self.message, self.fields["node"] = subject, message, node
        self.args = (f"{printable(subject)}: {printable(message)}",)


def labelled(code: Code, text: str) -> str:
    """Put the code of an error or a violation before its line, as in ``error[data-shape]: ...``."""
    return f"error[{code}]: {text}"


class ReportedWarning(UserWarning):
    """What a user should know and can mend, in one line; the command lines print it on standard error."""


def printable(text: str, keep: str = "") -> str:
    """Escape control characters, which names of files and layers may contain."""
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


class UsageError(ReportedError):
    """A name or option that does not exist."""

    exit_code = 2


class InputError(ReportedError):
    """Input that cannot be used, or an output that cannot be written."""

    exit_code = 3


class MappingError(InputError):
    """A mapping that breaks a rule of its format or of its chip."""
