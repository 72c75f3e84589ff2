# The three images for those who have Docker; `make images` builds the same without it.
#   docker build --target operator -t localhost/easel/operator:0.1.0 .     (also: facade, runtime)
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p easel-operator -p easel-facade -p easel-runtime --bins \
 && mkdir /out && for part in operator facade runtime; do strip -o /out/easel-$part target/*/release/easel-$part; done \
 && mkdir -m 1777 /out/tmp

FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/tmp /tmp
USER 65532:65532

FROM base AS operator
COPY --from=build /out/easel-operator /easel-operator
ENTRYPOINT ["/easel-operator"]

FROM base AS facade
COPY --from=build /out/easel-facade /easel-facade
ENTRYPOINT ["/easel-facade"]

FROM base AS runtime
COPY --from=build /out/easel-runtime /easel-runtime
ENTRYPOINT ["/easel-runtime"]
