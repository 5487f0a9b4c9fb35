"""Vertex AI on this machine: JobService over gRPC with TLS, for the unmodified google-cloud-aiplatform client.

A CustomJob's container command really runs, as a local process for each replica, with /gcs/ paths mapped to a copy of
the bucket, and with the variables that Vertex AI sets (CLOUD_ML_..., AIP_..., CLUSTER_SPEC, TF_CONFIG). Jobs wait for
accelerators, and on order answers get lost, services are unavailable, jobs fail, and Spot machines are taken away.
Cloud Storage beside it is fake-gcs-server.

`cloud.py` puts it together, `service.py` speaks gRPC, `jobs.py` keeps the jobs, `runner.py` takes one through its life,
`replicas.py` starts its processes, `mount.py` is /gcs, `faults.py` is the list of what shall go wrong.
"""
