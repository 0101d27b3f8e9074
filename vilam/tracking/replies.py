"""What MLflow's server replies to a request that cannot be answered."""

from __future__ import annotations

from collections.abc import Iterable

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

SHOWN = 5
"""Errors that a message names, at most."""


class RequestError(MlflowException):  # type: ignore[misc]
    """A request of which no row can be answered; the reply has its message, status 400 and no stack trace."""

    def __init__(self, errors: Iterable[str]) -> None:
        """A message of one line that names each error once."""
        distinct = list(dict.fromkeys(errors))
        more = [f"and {len(distinct) - SHOWN} more"] if len(distinct) > SHOWN else []
        super().__init__("; ".join([*distinct[:SHOWN], *more]), INVALID_PARAMETER_VALUE)

    @property
    def message(self) -> str:
        """The errors."""
        return str(self.args[0])

    @message.setter
    def message(self, text: str) -> None:
        """Changes nothing: MLflow's server would put the whole table before the errors."""
