"""An application of Ray Serve: it answers with its revision and doubles a number."""

import os
import sys
import time

import ray
from ray import serve


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Doubler:
    """Doubles."""

    def __init__(self):
        """Load the model, which takes a while."""
        time.sleep(10)
        self.revision = os.environ["REVISION"]

    async def __call__(self, request):
        """Answer one request."""
        number = (await request.json())["number"]
        return {"revision": self.revision, "doubled": 2 * number}


if __name__ == "__main__":
    # A cluster of its own for each replica: blue and green share nothing.
    ray.init(address="local", num_cpus=1, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Doubler.bind(), blocking=True)
