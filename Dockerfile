# The gateway and what it cannot do without: no shell, no package manager, nobody to log in as.
#
#   docker build -t registry.example.com/turnpike:0.1.0 .
#
# All steps are scripts/build-image-root, which `make test-image` tries without a container engine.
# Pin the one image this begins with: --build-arg BUILDER=rust:1.90-bookworm@sha256:…
ARG BUILDER=rust:1.90-bookworm

FROM ${BUILDER} AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN scripts/build-image-root /image

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
WORKDIR /var/lib/turnpike
# For clients; for management, health and metrics.
EXPOSE 8080 8317
ENTRYPOINT ["/usr/local/bin/turnpike"]
CMD ["--config", "/etc/turnpike/config/turnpike.yaml"]
