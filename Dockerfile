# Seven images: torchserve, front, web, sidecar-slim, score, mlflow, sidecar. What each holds and why:
# docs/docker.md.
#
#   docker build --target torchserve -t iqa-torchserve .
#
# No --mount and no here-document: the classic builder makes them as BuildKit does. It also makes
# every stage above the target, so the serving image comes first.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# ---- where packages are fetched; of this and the two stages on it only /opt/venv goes on
FROM ${BASE_IMAGE} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore
# Without pip inside: nothing in a final image installs anything.
RUN python -m venv --without-pip /opt/venv
COPY docker/install.py /build/install.py

# ---- what every image starts from: a user without rights, and an init that reaps
FROM ${BASE_IMAGE} AS base
ARG IQA_UID=10001
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log \
 && groupadd --gid ${IQA_UID} iqa \
 && useradd --uid ${IQA_UID} --gid iqa --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin iqa \
 # Empty volumes take over owner and mode of the folder that they are mounted on.
 && install -d -o iqa -g iqa /app/model-store /state /mlflow
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="iqa-torchserve" \
      org.opencontainers.image.description="Image quality, 0 to 100, over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Packages that would send statistics of use: MLflow asks the variable, OpenVINO's looks for a home.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/nonexistent DO_NOT_TRACK=true
WORKDIR /app
COPY docker/is_healthy.py docker/
ENTRYPOINT ["tini", "--"]
STOPSIGNAL SIGTERM

# ---- the serving image
FROM builder AS torchserve-venv
# locked: torchserve/requirements.txt, with the CUDA build of torch that the package index has.
# cpu: a lock of your own with torch for CPUs (docs/docker.md). none: without torch; scores on CPUs.
ARG TORCH=locked
COPY torchserve/requirements.txt /build/locked/requirements.txt
COPY docker/no-torch/requirements.txt /build/none/requirements.txt
COPY docker/torch-cpu/ /build/cpu/
RUN python /build/install.py /build/${TORCH}/requirements.txt \
 # As scripts/setup_env.sh does: `iqa` goes by that name wherever it lies.
 && echo /app/handler > "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/iqa-torchserve.pth"

FROM base AS torchserve
RUN apt-get update \
 # The Java packages link their manual pages, and a slim base has no folder for them.
 && mkdir -p /usr/share/man/man1 \
 && apt-get install -y --no-install-recommends openjdk-17-jre-headless \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
COPY --from=torchserve-venv /opt/venv /opt/venv
# No handler/ and no PYTHONPATH: the network and its code come in the archive alone.
COPY config.properties ./
COPY torchserve/log4j2.xml torchserve/metrics.yaml torchserve/
# How far two replies of a task lie apart, and how a prediction log is closed. On no PYTHONPATH: an
# archive's own `iqa` is found first.
COPY handler/iqa/__init__.py handler/iqa/errors.py handler/iqa/
COPY handler/iqa/tasks/ handler/iqa/tasks/
COPY handler/iqa/prediction_log/ handler/iqa/prediction_log/
COPY console/ console/
COPY scripts/ scripts/
ENV IQA_STATE_DIR=/state \
    INFERENCE_HOST=0.0.0.0 MANAGEMENT_HOST=0.0.0.0 METRICS_HOST=0.0.0.0 HEALTH_HOST=0.0.0.0
# The front is a container of its own.
ENV FRONT=0
USER iqa
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "docker/is_healthy.py", "http://127.0.0.1:8083/ready"]
CMD ["python", "-m", "scripts.serve", "--from-store"]

# ---- what owns the published port
FROM builder AS front-venv
COPY docker/front/requirements.txt /build/front/requirements.txt
RUN python /build/install.py /build/front/requirements.txt

FROM base AS front
RUN apt-get update \
 && apt-get install -y --no-install-recommends nginx-light \
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
COPY --from=front-venv /opt/venv /opt/venv
# Its limits follow the server's own settings.
COPY config.properties ./
COPY torchserve/model-config.yaml torchserve/
COPY torchserve/front/ torchserve/front/
COPY console/ console/
COPY scripts/__init__.py scripts/front.py scripts/
COPY scripts/server/ scripts/server/
COPY scripts/nginx/ scripts/nginx/
COPY docker/front.py docker/
ENV IQA_STATE_DIR=/state PYTHONPATH=/app FRONT_LISTEN=0.0.0.0:8080 FRONT_DIR=/state/front \
    FRONT_UPSTREAM=torchserve:8080 FRONT_HEALTH=torchserve:8083
USER iqa
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "docker/is_healthy.py", "http://127.0.0.1:8080/ready"]
CMD ["python", "docker/front.py"]

# ---- the gateway and the page, behind the front
FROM builder AS web-venv
COPY web/requirements.txt /build/web/requirements.txt
RUN python /build/install.py /build/web/requirements.txt

FROM base AS web
COPY --from=web-venv /opt/venv /opt/venv
# Of the handler the list of reasons, and the sample pictures.
COPY handler/iqa/__init__.py handler/iqa/errors.py handler/iqa/
COPY handler/iqa/request/ handler/iqa/request/
COPY handler/golden/ handler/golden/
COPY console/ console/
COPY web/ web/
ENV PYTHONPATH=/app:/app/handler \
    WEB_INFERENCE_URL=http://front:8080 WEB_READY_URL=http://torchserve:8083/ready RELOAD=off
USER iqa
EXPOSE 8000
# Whether it answers: whether scores are had is the front's to say.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "docker/is_healthy.py", "http://127.0.0.1:8000/v2/health/live"]
CMD ["uvicorn", "web.api:app", "--host", "0.0.0.0", "--port", "8000", "--no-access-log", \
     "--log-level", "warning", "--no-server-header", "--timeout-keep-alive", "75", \
     "--timeout-graceful-shutdown", "30"]

# ---- what follows the alias where archives come from the registry: it builds none, so no torch
FROM builder AS sidecar-slim-venv
COPY docker/sidecar-slim/requirements.txt /build/sidecar-slim/requirements.txt
RUN python /build/install.py /build/sidecar-slim/requirements.txt

FROM base AS sidecar-slim
COPY --from=sidecar-slim-venv /opt/venv /opt/venv
COPY config.properties ./
COPY handler/iqa/ handler/iqa/
COPY console/ console/
# Of training what asks MLflow.
COPY training/__init__.py training/
COPY training/registry/ training/registry/
COPY scripts/ scripts/
COPY docker/sidecar.py docker/
ENV IQA_STATE_DIR=/state PYTHONPATH=/app:/app/handler IQA_ARCHIVES=registry GIT_PYTHON_REFRESH=quiet
USER iqa
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "docker/is_healthy.py", "http://127.0.0.1:8085/metrics"]
CMD ["python", "docker/sidecar.py", "--metrics-port", "8085", "--metrics-host", "0.0.0.0"]

# ---- what scores a folder: `docker run IMAGE --input_path ... --output_path ...` (docs/scale.md)
FROM builder AS score-venv
COPY docker/score/requirements.txt /build/score/requirements.txt
RUN python /build/install.py /build/score/requirements.txt

FROM base AS score
COPY --from=score-venv /opt/venv /opt/venv
COPY torchserve/model-config.yaml torchserve/
COPY handler/ handler/
COPY training/pretrained/ training/pretrained/
COPY console/ console/
COPY scripts/ scripts/
COPY docker/score.py docker/
ENV PYTHONPATH=/app
# Not USER: it becomes whoever owns the folder of the output, which a host mounts.
ENTRYPOINT ["tini", "--", "python", "docker/score.py"]
CMD ["--help"]

# ---- the registry
FROM builder AS mlflow-venv
COPY docker/mlflow/requirements.txt /build/mlflow/requirements.txt
RUN python /build/install.py /build/mlflow/requirements.txt

FROM base AS mlflow
COPY --from=mlflow-venv /opt/venv /opt/venv
# Job execution is two more processes, unused here.
ENV MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_BACKEND_STORE_URI=sqlite:////mlflow/mlflow.db
USER iqa
EXPOSE 5000
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "docker/is_healthy.py", "http://127.0.0.1:5000/health"]
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1", \
     "--artifacts-destination", "/mlflow/artifacts", "--uvicorn-opts", "--no-access-log", \
     "--allowed-hosts", "mlflow:5000,localhost:*,127.0.0.1:*"]

# ---- what follows the alias: builds archives, so it has what training has
FROM builder AS sidecar-venv
# An archive is made with torch: there is no `none` here.
ARG SIDECAR_TORCH=locked
COPY training/requirements.txt /build/locked/training.txt
COPY torchserve/requirements.txt /build/locked/requirements.txt
COPY docker/torch-cpu/ /build/cpu/
RUN python /build/install.py /build/${SIDECAR_TORCH}/training.txt /build/${SIDECAR_TORCH}/requirements.txt \
 # As scripts/setup_env.sh does: `iqa` goes by that name wherever it lies.
 && echo /app/handler > "$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/iqa-torchserve.pth"

FROM base AS sidecar
COPY --from=sidecar-venv /opt/venv /opt/venv
COPY config.properties ./
COPY handler/ handler/
COPY console/ console/
COPY training/ training/
COPY torchserve/ torchserve/
COPY scripts/ scripts/
COPY docker/sidecar.py docker/
ENV IQA_STATE_DIR=/state PYTHONPATH=/app MPLCONFIGDIR=/tmp/matplotlib GIT_PYTHON_REFRESH=quiet
USER iqa
# A first start builds an archive before it follows anything.
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
  CMD ["python", "docker/is_healthy.py", "http://127.0.0.1:8085/metrics"]
CMD ["python", "docker/sidecar.py", "--metrics-port", "8085", "--metrics-host", "0.0.0.0"]
