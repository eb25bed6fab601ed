"""A kubelet whose pods are processes: the pods of one node run as plain processes on loopback addresses of their own.

What pods see of a real kubelet is kept: addresses after the start, environment with secrets by reference, startup,
readiness and liveness probes, readiness gates, restarts with backoff, exit codes, last words, preStop, SIGTERM, grace
and SIGKILL, and memory limits that kill. Not kept: images (each name but ``missing/...`` stands for this machine's
programs), volumes, init containers, probes by gRPC, security contexts, logs and exec through the API server. A process
is not the first of a container: SIGTERM ends it without a handler too. Timings that a decision hangs on need one run on
a real cluster.
"""
