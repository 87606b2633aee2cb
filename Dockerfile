# An image of soma: the command line and the workers. No shell is needed to run it, no root, nothing to write but /var/lib/soma.

FROM python:3.13.7-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE config.example.yaml ./
COPY schemas schemas
COPY deploy/connect deploy/connect
COPY soma_cli soma_cli
RUN python -m venv /opt/soma && /opt/soma/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.13.7-slim
RUN groupadd --gid 10001 soma \
    && useradd --uid 10001 --gid soma --home-dir /var/lib/soma --create-home --shell /usr/sbin/nologin soma
COPY --from=build /opt/soma /opt/soma
ENV PATH=/opt/soma/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SOMA_DATA_DIR=/var/lib/soma
USER 10001:10001
WORKDIR /var/lib/soma
ENTRYPOINT ["soma"]
CMD ["--help"]
