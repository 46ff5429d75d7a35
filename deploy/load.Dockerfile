# The image of the chart's `loadTest`: locust, the loads of loadtests/, and Penstock's client. Build it from the root:
#   docker build --file deploy/load.Dockerfile --tag penstock/penstock-load:0.1.0 .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}
WORKDIR /opt/penstock
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY client client
COPY common common
COPY storage storage
COPY ingest ingest
COPY sweeps sweeps
COPY compat compat
COPY workers workers
COPY web/penstock_web web/penstock_web
COPY server server
RUN pip install --no-cache-dir --constraint constraints.txt '.[load]'
COPY benchmarks benchmarks
COPY loadtests loadtests
ENV PYTHONPATH=/opt/penstock PYTHONDONTWRITEBYTECODE=1
USER 10001:0
ENTRYPOINT ["locust"]
