"""Errors that the user can fix: one class per kind, each with an exit code and a readable
message."""


class UserError(Exception):
    """An error whose message is meant for the user: what was got, what was expected, how to fix
    it."""

    exit_code = 1


class UsageError(UserError):
    """A flag or an argument that makes no sense."""

    exit_code = 2


class KindError(UsageError, TypeError):
    """An argument of a type that makes no sense there; a TypeError too, as PyTorch raises."""


class ShapeError(UserError, ValueError):
    """Shapes or sizes that do not fit together; names the operation, what it got and what it
    expected."""

    exit_code = 2


class BackendError(UserError):
    """A backend that is not available, or arrays of two backends in one operation."""

    exit_code = 3


class DataError(UserError):
    """A dataset that is missing, damaged or not what it claims to be."""

    exit_code = 4


class DivergedError(UserError):
    """Training diverged: the loss is NaN or infinite."""

    exit_code = 5


class RunError(UserError):
    """A run directory or a checkpoint that cannot be used."""

    exit_code = 6


class DiskError(UserError):
    """A file that could not be written; no half-written file is left."""

    exit_code = 7
