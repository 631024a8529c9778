# The binary `loyalty` alone, in a small image, without root.
FROM rust:1.95-bookworm AS build
WORKDIR /src
# `otel` for traces.
ARG FEATURES=
COPY . .
# The caches outlive the build: an edit of one crate does not compile the others anew.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package loyalty-cli --features "$FEATURES" \
    && install -D target/release/loyalty /out/loyalty

FROM debian:bookworm-slim
# For TLS to a broker, a database or a mail server elsewhere.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/loyalty /usr/local/bin/loyalty
# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /tmp
ENV LOYALTY_LOG_FORMAT=json
ENTRYPOINT ["loyalty"]
CMD ["--help"]
