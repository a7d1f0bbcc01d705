"""The one exception that a user's mistake raises."""


class UserError(ValueError):
    """A mistake in what the user gave: one clear line, shown without a stack trace, exit code 2.

    Example:
        >>> raise UserError("samples.csv, row 7, column 'label': unknown class 'stool'")
        Traceback (most recent call last):
        altuna.errors.UserError: samples.csv, row 7, column 'label': unknown class 'stool'
    """


class StoppedError(Exception):
    """Ctrl-C during a command, with what to say: exit code 130."""


class DivergedError(UserError):
    """A training whose loss is no number any more; the message says which and when."""
