"""The server of llama.cpp in the wheel ``xllamacpp``; ``llama-server`` takes the same settings as options."""

import os
import signal
import sys

import xllamacpp


def main() -> None:
    """Serve a model until SIGTERM."""
    model, port = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {os.environ["REVISION"]}
    params.hostnames = ["127.0.0.1"]
    params.port = int(port)
    params.n_ctx = 512
    params.n_parallel = 2
    params.cpuparams.n_threads = 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = xllamacpp.Server(params)
    signal.sigwait({signal.SIGTERM})
    del server


if __name__ == "__main__":
    main()
