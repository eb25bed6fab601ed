"""A model of MLServer: it answers with its revision."""

import asyncio
import os

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class EchoModel(MLModel):
    """Says which revision it is."""

    async def load(self) -> bool:
        """Load the model, which takes a while."""
        await asyncio.sleep(10)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        said = StringCodec.encode_output("revision", [os.environ["REVISION"]])
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[said])
