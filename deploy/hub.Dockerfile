# The local Hub, for a team without an account at Hugging Face; deploy/compose.yaml builds it.
#
#     docker build --file deploy/hub.Dockerfile --tag conceptry-hub .
#
# It runs no code of Spaces: they would run with its rights.

FROM python:3.12-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* && pip install --no-cache-dir "uv>=0.8,<1"
ENV UV_PROJECT_ENVIRONMENT=/opt/hub UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /app
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-install-project --no-default-groups --extra emulators --compile-bytecode \
    && useradd --uid 1000 --create-home hub && mkdir /hub && chown hub /hub
COPY emulators emulators
COPY local/hub_config.yaml local/hub_config.yaml
ENV PATH=/opt/hub/bin:$PATH PYTHONUNBUFFERED=1
USER 1000
VOLUME /hub
CMD ["python", "-m", "emulators.hub", "--root=/hub", "--help"]
