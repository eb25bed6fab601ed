"""Inputs of workflows that cannot be decoded: the start is refused, in place of a task that fails at every attempt.

Temporal decodes the input before any code of a workflow runs, and takes an error there for a fault of the worker: the
rollout would hold its deployment's workflow id until somebody terminates it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.exceptions import FailureError
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from celadon.domain.language.errors import Refusal, RefusalCode
from workflows.replies import refused


class RefusingConverter(PydanticPayloadConverter):
    """Decodes as Pydantic does; untyped inputs, which come from outside, are refused when they cannot be decoded.

    A refusal fails a workflow at its start and rejects an update. The SDK drops such a signal, with a line in the log.
    """

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Decode payloads.

        Raises:
            ApplicationError: an untyped one cannot be decoded.

        """
        try:
            return super().from_payloads(payloads, type_hints)
        except FailureError:
            raise
        except Exception as error:
            if type_hints:
                raise
            raise refused(
                Refusal(
                    code=RefusalCode.INVALID_PAYLOAD,
                    message=f"the input cannot be decoded: {type(error).__name__}",
                    next_step="send one JSON object with the encoding json/plain",
                ),
            ) from None


class RefusingRunner(SandboxedWorkflowRunner):
    """Runs workflows in the sandbox, with :class:`RefusingConverter`."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Return an instance of a workflow."""
        return super().create_instance(replace(det, payload_converter_factory=RefusingConverter))
