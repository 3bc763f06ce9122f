# Both stages need the same Python. Any image with python3 (3.11 or newer), pip and venv will do.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
# The dependencies first: this layer stays while only our code changes. The tools that build our
# two distributions get an environment of their own, which stays behind.
COPY requirements.txt requirements-build.txt ./
RUN python3 -m venv --without-pip /opt/turnkeep \
 && python3 -m pip --python /opt/turnkeep/bin/python install --only-binary :all: --require-hashes \
      --requirement requirements.txt \
 && python3 -m venv /build/tools \
 && tools/bin/pip install --only-binary :all: --require-hashes --requirement requirements-build.txt
COPY client client
COPY server server
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels ./client ./server \
 && python3 -m pip --python /opt/turnkeep/bin/python install --no-deps --no-index wheels/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="Turnkeep" \
      org.opencontainers.image.description="A gRPC conversation service in which every turn is a transaction" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/turnkeep /opt/turnkeep
# No mongod in here (its licence, its weight): TURNKEEP_HISTORY_URL names the database.
ENV PATH=/opt/turnkeep/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TURNKEEP_LISTEN=0.0.0.0:50051
# By number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
WORKDIR /
EXPOSE 50051
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["turnkeep-server", "health"]
# SIGTERM, the default, drains: turns that run are finished first.
ENTRYPOINT ["turnkeep-server"]
