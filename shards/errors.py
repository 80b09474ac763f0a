"""The one exception for a user's mistake, shared by all packages."""


class UserError(ValueError):
    """A mistake in what the user gave: one sentence naming the file, the value and the mend.

    The command line prints the sentence without a traceback and exits with code 2.
    Faults of our own raise anything else and exit with code 1.
    """
