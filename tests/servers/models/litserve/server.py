"""A model of LitServe: it answers with its revision and doubles a number."""

import os
import sys
import time

import litserve


class Doubler(litserve.LitAPI):
    """Doubles."""

    def setup(self, device):
        """Load the model, which takes a while."""
        time.sleep(10)
        self.revision = os.environ["REVISION"]

    def predict(self, request):
        """Answer one request."""
        return {"revision": self.revision, "doubled": 2 * request["number"]}


if __name__ == "__main__":
    server = litserve.LitServer(Doubler(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
