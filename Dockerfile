# One file, one target per service: `docker build --target ingest .`, or all of them with their
# digests pinned: `docker buildx bake` (docker-bake.hcl).
#
# A tag moves; a release names the digest: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# The wheel is made once; no compiler, source or build tool goes into what runs.
# hadolint ignore=DL3006  # The argument has a tag.
FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY requirements/build.lock requirements/
RUN pip install --require-hashes --only-binary :all: -r requirements/build.lock
COPY . .
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS base
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="FileFlux" \
      org.opencontainers.image.description="An S3-compatible object store whose every write is an event" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The root file system is read-only where it runs: nothing is compiled there, HOME is a tmpfs.
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 HOME=/tmp
WORKDIR /opt/fileflux
COPY requirements/runtime.lock requirements/tracing.lock requirements/
RUN pip install --require-hashes --only-binary :all: \
        -r requirements/runtime.lock -r requirements/tracing.lock
COPY --from=build /wheels /wheels
RUN pip install --no-deps --no-index /wheels/*.whl && rm -rf /wheels \
    && useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin fileflux \
    && install --directory --owner 10001 --group 10001 /var/lib/fileflux /var/lib/fileflux-archive
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001

FROM base AS ingest
EXPOSE 9000 9100 9300
CMD ["python", "-m", "fileflux.ingest"]

FROM base AS placement
EXPOSE 9100
CMD ["python", "-m", "fileflux.placement"]

# One image, four commands: materializer (default), sequencer, archiver, migrate.
FROM base AS metadata
EXPOSE 9100
ENTRYPOINT ["python", "-m", "fileflux.metadata"]
CMD ["materializer"]

FROM base AS webhooks
EXPOSE 9100
CMD ["python", "-m", "fileflux.webhooks"]

FROM base AS storage-node
# The node reads its pool's figures with zpool and zfs.
# hadolint ignore=DL3002
USER 0
# hadolint ignore=DL3008  # Debian keeps one version; the base image's digest pins the release.
RUN sed -i 's/^Components: main$/Components: main contrib/' /etc/apt/sources.list.d/debian.sources \
    && apt-get update && apt-get install -y --no-install-recommends zfsutils-linux \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
EXPOSE 9100 9134 9200
CMD ["python", "-m", "fileflux.storage_node"]

# The operators' command line, with an S3 client (boto3) in a Python of its own for `fileflux demo`.
FROM base AS console
# hadolint ignore=DL3002
USER 0
COPY requirements/demo.lock requirements/
RUN python -m venv /opt/client \
    && /opt/client/bin/pip install --require-hashes --only-binary :all: -r requirements/demo.lock
USER 10001:10001
ENTRYPOINT ["fileflux"]
CMD ["--help"]
