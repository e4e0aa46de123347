# The control plane. From the root of the source tree: docker build -f deployments/docker/kuma-cp.Dockerfile -t kuma-cp .
FROM debian:12.11-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN python3 -m venv /opt/kuma \
 && /opt/kuma/bin/pip install --no-cache-dir --disable-pip-version-check /source

FROM debian:12.11-slim
# wget: by it the admin token is read from within (docs/docker.md).
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 wget \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 5678 --user-group --create-home kuma \
 && install --directory --owner=kuma --group=kuma --mode=0700 /var/lib/kuma
COPY --from=build /opt/kuma /opt/kuma
ENV PATH=/opt/kuma/bin:/usr/local/bin:/usr/bin:/bin \
    KUMA_GENERAL_WORK_DIR=/var/lib/kuma
USER 5678:5678
VOLUME /var/lib/kuma
EXPOSE 5678 5680 5681 5682
ENTRYPOINT ["kuma-cp"]
CMD ["run"]
