# A PrimeDHT node: docker build -t primedht . && docker run -v primedht:/var/lib/primedht primedht
# Its root file system may be read-only; all that it writes is in the data directory.

FROM python:3.11-slim-bookworm AS build
# One dependency, fastecdsa, comes as source only.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev libgmp-dev \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/primedht
ENV PATH=/opt/primedht/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
# The dependencies in a layer of their own: a change of our code does not install them again.
COPY pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
        > requirements.txt \
    && pip install -r requirements.txt
COPY README.md LICENSE ./
COPY primedht ./primedht
RUN pip install --no-deps . && pip check

FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgmp10 \
    && rm -rf /var/lib/apt/lists/*
# The data directory is 0700: the node refuses one that others may read. The socket's folder is for those
# whom control.group admits.
RUN groupadd --gid 4101 primedht \
    && useradd --uid 4101 --gid 4101 --no-create-home --home-dir /var/lib/primedht --shell /usr/sbin/nologin primedht \
    && install -d -o 4101 -g 4101 -m 0700 /var/lib/primedht \
    && install -d -o 4101 -g 4101 -m 0750 /run/primedht
COPY --from=build /opt/primedht /opt/primedht
ENV PATH=/opt/primedht/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PRIMEDHT_NODE_DATA_DIR=/var/lib/primedht
# By number, so that an orchestrator can see that it is not root.
USER 4101:4101
WORKDIR /var/lib/primedht
VOLUME /var/lib/primedht
EXPOSE 4101
# Asks the node through its control socket.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["primedht", "id"]
ENTRYPOINT ["primedht"]
CMD ["run"]
