# Any image with python3 (3.11 or newer), pip and venv will do, for both: the same Python. For an image
# that can be built again bit for bit, name it by its digest: BASE=python:3.11-slim@sha256:...
ARG BASE=python:3.11-slim
ARG BUILD_BASE=${BASE}

# The dependencies, a layer of their own: it stays while only our code changes.
FROM ${BUILD_BASE} AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
# Several wheels carry what only a debugger reads, 40 MB in all.
# hadolint ignore=DL3008
RUN command -v strip \
 || { apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*; }
WORKDIR /build
COPY requirements.txt ./
# Bytecode that names its source by a hash, not by a time: the same in every build, and the root may
# be read-only without each start compiling anew.
RUN python3 -m venv --without-pip /opt/turnkeep \
 && python3 -m pip --python /opt/turnkeep/bin/python install --no-compile --only-binary :all: \
      --require-hashes --requirement requirements.txt \
 && find /opt/turnkeep -name '*.so*' -exec strip --strip-unneeded {} + \
 && /opt/turnkeep/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/turnkeep/lib

# Our two distributions. The tools that build them stay behind.
FROM dependencies AS ours
COPY requirements-build.txt ./
RUN python3 -m venv tools \
 && tools/bin/pip install --only-binary :all: --require-hashes --requirement requirements-build.txt
COPY client client
COPY server server
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./client ./server \
 && python3 -m pip --python /opt/turnkeep/bin/python install --no-deps --no-index --no-compile \
      --root /ours wheels/*.whl \
 && /opt/turnkeep/bin/python -m compileall -q --invalidation-mode unchecked-hash \
      -s /ours -p / /ours/opt/turnkeep/lib

FROM ${BASE}
LABEL org.opencontainers.image.title="Turnkeep" \
      org.opencontainers.image.description="A gRPC conversation service in which every turn is a transaction" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
COPY --from=dependencies /opt/turnkeep /opt/turnkeep
COPY --from=ours /ours/opt/turnkeep /opt/turnkeep
# No mongod in here (its licence, its weight): TURNKEEP_HISTORY_URL names the database. Beyond this
# machine the server wants TLS and identity, or TURNKEEP_INSECURE=1.
ENV PATH=/opt/turnkeep/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TURNKEEP_LISTEN=0.0.0.0:50051 \
    TURNKEEP_HEALTH_LISTEN=127.0.0.1:50052
# By number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
WORKDIR /
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["turnkeep-server", "health"]
# SIGTERM, the default, drains: turns that run are finished first.
ENTRYPOINT ["turnkeep-server"]
