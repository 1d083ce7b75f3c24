# The program as an image, for amd64 and arm64:
#
#     docker build --build-arg REVISION="$(git rev-parse HEAD)" --tag codecommit-exporter .
#     docker build --target demo --tag codecommit-exporter:demo .
#
# Every package is fetched by the stages before `runtime`, and fixed by hash: uv here, all others
# in uv.lock. Those stages run on the machine that builds, whatever it builds for, since only
# wheels are taken; the one RUN of `runtime` is all that is emulated for another machine.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM --platform=${BUILDPLATFORM} ${PYTHON_IMAGE} AS uv
# The version is the Makefile's; the hashes are those of its wheels for amd64 and arm64.
ARG UV_VERSION=0.13.9
ARG UV_HASHES="--hash=sha256:d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19 --hash=sha256:ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375"
RUN echo "uv==${UV_VERSION} ${UV_HASHES}" > /uv.txt \
    && pip install --no-cache-dir --only-binary :all: --require-hashes --requirement /uv.txt
# Byte code is never compared with its source: files of an image do not change, but a build may
# set their times.
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_BUILD=1 \
    UV_NO_CACHE=1 \
    UV_NO_DEV=1 \
    UV_PROJECT_ENVIRONMENT=/opt/codecommit-exporter \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
COPY pyproject.toml uv.lock ./

# The packages that the program uses: a layer that lasts until uv.lock changes.
FROM uv AS packages
ARG TARGETARCH
RUN case "${TARGETARCH}" in amd64) echo x86_64 ;; arm64) echo aarch64 ;; esac > /machine
RUN uv sync --locked --no-install-project --python-platform "$(cat /machine)-unknown-linux-gnu" \
    --extra uvloop
FROM packages AS packages-demo
RUN uv sync --locked --no-install-project --python-platform "$(cat /machine)-unknown-linux-gnu" \
    --extra uvloop --extra demo

# The program itself, in an environment of the same place.
FROM uv AS program
RUN uv venv "${UV_PROJECT_ENVIRONMENT}" \
    && uv export --quiet --locked --only-group build --output-file /build.txt
COPY README.md LICENSE ./
COPY exporter exporter
ARG REVISION
RUN printf '%s' "${REVISION}" > exporter/REVISION \
    && uv build --wheel --build-constraints /build.txt --require-hashes --out-dir /dist \
    && uv pip install --python "${UV_PROJECT_ENVIRONMENT}" --no-deps /dist/*.whl

# What runs. Python's own image has its library without byte code, which would more than double
# the time of every start and every health check, and pip, which nothing here needs.
FROM ${PYTHON_IMAGE} AS runtime
RUN rm -r /usr/local/bin/pip* /usr/local/lib/python3.*/site-packages/pip* /usr/local/lib/python3.*/ensurepip \
    && python -m compileall -q --invalidation-mode unchecked-hash /usr/local/lib/python3.* \
    && install --directory --owner=65532 --group=65532 --mode=0750 /var/lib/codecommit-exporter
ENV PATH=/opt/codecommit-exporter/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    STATE_DIRECTORY=/var/lib/codecommit-exporter
# Python puts temporary files here where /tmp is read-only.
WORKDIR /var/lib/codecommit-exporter
VOLUME ["/var/lib/codecommit-exporter"]
USER 65532:65532
EXPOSE 10112
STOPSIGNAL SIGTERM
# Asks without a proxy, whatever the environment says. It knows the usual port only: with another
# --web.listen-address the container needs a check of its own.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-IS", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 10112, timeout=4); c.request('GET', '/-/healthy'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["codecommit-exporter"]
ARG PYTHON_IMAGE
ARG REVISION
LABEL org.opencontainers.image.title="codecommit-exporter" \
    org.opencontainers.image.description="Prometheus exporter that counts AWS CodeCommit events from CloudTrail log files, each exactly once" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="https://github.com/codecommit-exporter/codecommit-exporter" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${PYTHON_IMAGE}"

FROM runtime AS demo
COPY --from=packages-demo /opt/codecommit-exporter /opt/codecommit-exporter
COPY --from=program /opt/codecommit-exporter /opt/codecommit-exporter
CMD ["demo", "--web.listen-address", ":10112"]

FROM runtime AS serve
COPY --from=packages /opt/codecommit-exporter /opt/codecommit-exporter
COPY --from=program /opt/codecommit-exporter /opt/codecommit-exporter
CMD ["serve"]
