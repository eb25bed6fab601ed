"""A service of BentoML: it answers with its revision and doubles a number."""

import os
import time

import bentoml


@bentoml.service(workers=2)
class Doubler:
    """Doubles."""

    def __init__(self) -> None:
        """Load the model, which takes a while."""
        time.sleep(10)
        self.revision = os.environ["REVISION"]

    @bentoml.api
    def double(self, number: int) -> dict:
        """Answer one request."""
        return {"revision": self.revision, "doubled": 2 * number}
