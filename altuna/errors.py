"""The one exception that a user's mistake raises."""


class UserError(ValueError):
    """A mistake in what the user gave: one clear line, shown without a stack trace, exit code 2."""
