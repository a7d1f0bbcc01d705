"""Exceptions that the command line prints as one line, without a stack trace."""


class UserError(ValueError):
    """A mistake in the data or the options. Commands print it as one line without stack trace; exit code 2.

    Example:
        >>> raise UserError("samples.csv, row 7, column 'label': unknown class 'stool'")
        Traceback (most recent call last):
        altuna.errors.UserError: samples.csv, row 7, column 'label': unknown class 'stool'
    """


class UnreadableColumnError(UserError):
    """A column that no reader accepts; ``column`` is its name.

    Example:
        >>> raise UnreadableColumnError("samples.csv, column 'scan': no reader accepts .svg files", "scan")
        Traceback (most recent call last):
        altuna.errors.UnreadableColumnError: samples.csv, column 'scan': no reader accepts .svg files
    """

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


class StoppedError(Exception):
    """Ctrl-C during a command, with the line to print: exit code 130."""


class DivergedError(UserError):
    """A training with a non-finite loss; the message says which loss and when."""
