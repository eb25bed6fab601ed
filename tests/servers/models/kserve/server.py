"""A model of the KServe SDK: it answers with its revision, by the protocols V1 and V2."""

import os
import time

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class EchoModel(Model):
    """Says which revision it is."""

    def load(self):
        """Load the model, which takes a while."""
        time.sleep(10)
        self.ready = True
        return True

    async def predict(self, payload, headers=None, response_headers=None):
        """Answer one request."""
        revision = os.environ["REVISION"]
        if not isinstance(payload, InferRequest):
            return {"predictions": [revision]}
        output = InferOutput(name="revision", shape=[1], datatype="BYTES", data=[revision])
        return InferResponse(response_id=payload.id or "-", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    model = EchoModel("echo")
    model.load()
    ModelServer().start([model])
