# The image that flows run in: Prefect, DVC, the clients of the Hub and of Google Cloud, and the trainer for the CPU.
#
#     docker build -t conceptry .
#     docker build --build-arg GPU=yes -t conceptry .       with CUDA, for trainings in this image (CONCEPTRY_BACKEND=local)
#     docker run -e PREFECT_API_URL -e CONCEPTRY_REPO -e CONCEPTRY_HUB_OWNER -e CONCEPTRY_HUB_TOKEN -v work:/work conceptry
#
# Without a command it is a worker. The work pools docker, kubernetes and cloud-run-v2 give it the command of one run, so
# it has no ENTRYPOINT. docs/workers.md describes both.

FROM python:3.12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/* && pip install --no-cache-dir "uv>=0.8,<1"
ENV UV_PROJECT_ENVIRONMENT=/opt/conceptry UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY pyproject.toml uv.lock ./
ARG GPU=""
# The packages first: they change less often than the code.
RUN uv sync --frozen --no-install-project --no-default-groups --extra flows ${GPU:+--group gpu} --compile-bytecode
COPY README.md LICENSE ./
COPY cli cli
COPY conceptry conceptry
COPY flows flows
COPY handler_template handler_template
COPY local local
COPY space_template space_template
COPY tasks tasks
COPY trainer trainer
RUN uv sync --frozen --no-default-groups --extra flows ${GPU:+--group gpu} --compile-bytecode \
    && useradd --uid 1000 --create-home conceptry && mkdir /work && chown conceptry /work
ENV PATH=/opt/conceptry/bin:$PATH PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1 CONCEPTRY_WORK=/work TF_CPP_MIN_LOG_LEVEL=2
USER 1000
VOLUME /work
WORKDIR /work
CMD ["conceptry", "worker"]
