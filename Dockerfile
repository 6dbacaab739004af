# One recipe for three images; docker compose builds them (docker-compose.yml):
#   docker build --target service -t spezia .                   the service alone, without torch
#   docker build --target worker -t spezia-worker .             a worker on the CPU
#   docker build --target worker-cuda -t spezia-worker:cuda .   a worker on NVIDIA GPUs
# All versions are those of constraints.txt, which the tests run with.

FROM python:3.12.12-slim-trixie AS build
WORKDIR /spezia
RUN python -m venv /opt/spezia
ENV PATH=/opt/spezia/bin:$PATH PIP_NO_CACHE_DIR=1
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY spezia spezia
COPY service service
COPY trainer trainer
RUN pip install --constraint constraints.txt ".[postgres,s3]"

FROM build AS build-cpu
# torch without the libraries of CUDA, which are most of its gigabytes
RUN pip install --constraint constraints.txt --index-url https://download.pytorch.org/whl/cpu torch \
    && pip install --constraint constraints.txt ".[demo]"

FROM build AS build-cuda
RUN pip install --constraint constraints.txt ".[demo]"

FROM python:3.12.12-slim-trixie AS base
# the same number everywhere, so that volumes and secrets can be given to it
RUN useradd --uid 10001 --create-home spezia \
    && install --directory --owner=spezia --mode=700 /data /keys /cache
ENV PATH=/opt/spezia/bin:$PATH
USER 10001
WORKDIR /home/spezia

FROM base AS service
COPY --from=build /opt/spezia /opt/spezia
ENV SPEZIA_HOME=/data
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/readyz', timeout=4)"]
ENTRYPOINT ["spezia"]
CMD ["serve", "--workers", "0"]

# A worker that cannot work ends, with an exit code that says why (docs/command-line.md); there is nothing else to probe.
FROM base AS worker
COPY --from=build-cpu /opt/spezia /opt/spezia
ENV XDG_CACHE_HOME=/cache
HEALTHCHECK NONE
ENTRYPOINT ["spezia-worker"]

FROM base AS worker-cuda
COPY --from=build-cuda /opt/spezia /opt/spezia
# utility: nvidia-smi, by which a worker finds its devices
ENV XDG_CACHE_HOME=/cache NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
HEALTHCHECK NONE
ENTRYPOINT ["spezia-worker"]
