# One file, one target per service: docker build --target ingest .
FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/fileflux
COPY requirements/ requirements/
RUN pip install --require-hashes -r requirements/build.lock \
    -r requirements/runtime.lock -r requirements/tracing.lock
COPY . .
# Everything was installed as locked; the project adds only itself.
RUN pip install --no-deps --no-build-isolation . && useradd --uid 10001 --create-home fileflux \
    && install --directory --owner fileflux --group fileflux /var/lib/fileflux
USER fileflux

FROM base AS ingest
EXPOSE 9000
CMD ["python", "-m", "fileflux.ingest"]

FROM base AS placement
CMD ["python", "-m", "fileflux.placement"]

# One image, three commands: materializer (default), sequencer, migrate.
FROM base AS metadata
ENTRYPOINT ["python", "-m", "fileflux.metadata"]
CMD ["materializer"]

FROM base AS webhooks
CMD ["python", "-m", "fileflux.webhooks"]

FROM base AS storage-node
USER root
# The node reads its pool's figures with zpool and zfs.
RUN sed -i 's/^Components: main$/Components: main contrib/' /etc/apt/sources.list.d/debian.sources \
    && apt-get update && apt-get install -y --no-install-recommends zfsutils-linux \
    && rm -rf /var/lib/apt/lists/*
EXPOSE 9134
CMD ["python", "-m", "fileflux.storage_node"]

FROM base AS console
ENTRYPOINT ["fileflux"]
CMD ["--help"]
