"""Vertex AI on this machine: JobService over gRPC with TLS, for the unmodified google-cloud-aiplatform client.

The command of a CustomJob's container runs as one local process per replica, with /gcs/ paths mapped to a copy of the
bucket, and with the variables that Vertex AI sets (CLOUD_ML_..., AIP_..., CLUSTER_SPEC, TF_CONFIG). Jobs wait for
accelerators. Faults can be injected: lost answers, unavailable services, failing jobs, preempted Spot machines. Cloud
Storage beside it is fake-gcs-server.

    cloud                         starts everything together
    service, http_api             JobService over gRPC; tokens, quotas and pages over HTTP
    jobs, filters                 the jobs, and the filter language of their listing
    runner, replicas, mount       the life of one job, its processes, and its /gcs
    faults                        injected faults
    cloud_storage, storage_guard  Cloud Storage, and its refusal of web pages
    certificate                   TLS and service account keys
"""
