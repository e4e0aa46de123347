# The command line. From the root of the source tree: docker build -f deployments/docker/kumactl.Dockerfile -t kumactl .
FROM debian:12.11-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN python3 -m venv /opt/kuma \
 && /opt/kuma/bin/pip install --no-cache-dir --disable-pip-version-check /source

FROM debian:12.11-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 5678 --user-group --create-home kumactl
COPY --from=build /opt/kuma /opt/kuma
ENV PATH=/opt/kuma/bin:/usr/local/bin:/usr/bin:/bin
USER 5678:5678
WORKDIR /home/kumactl
ENTRYPOINT ["kumactl"]
CMD ["--help"]
