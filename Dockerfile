# Vision Hub in a container, for one's own server or a Docker Space.
#
# CPU (the default):
#   docker build -t vision-hub .
#   docker run --rm -p 7860:7860 vision-hub
# GPU (NVIDIA Container Toolkit on the host):
#   docker build -t vision-hub:gpu --build-arg TORCH_BACKEND=cu130 \
#     --build-arg BASE=nvidia/cuda:13.0.0-base-ubuntu24.04 .
#   docker run --rm -p 7860:7860 --gpus all vision-hub:gpu
#
# The smallest CUDA base is enough: PyTorch's CUDA wheels bring the libraries themselves.
ARG BASE=python:3.12-slim
FROM ${BASE}

# One switch for torch and torchvision together, so that both are always of the same build.
ARG TORCH_BACKEND=cpu
ARG UV_VERSION=0.13.9

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# CUDA bases come without Python. Ubuntu 24.04 has a user with id 1000, which Spaces want as ours.
# hadolint ignore=DL3008
RUN if ! command -v python3 >/dev/null; then \
      apt-get update \
      && DEBIAN_FRONTEND=noninteractive \
         apt-get install --yes --no-install-recommends python3 python3-venv \
      && rm -rf /var/lib/apt/lists/*; \
    fi \
    && if id ubuntu >/dev/null 2>&1; then userdel --remove ubuntu; fi \
    && useradd --create-home --uid 1000 user

ENV PATH=/opt/venv/bin:$PATH
COPY requirements.txt constraints.txt /tmp/
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}" \
    && UV_TORCH_BACKEND="${TORCH_BACKEND}" VIRTUAL_ENV=/opt/venv uv pip install \
       --no-cache --compile-bytecode -c /tmp/constraints.txt -r /tmp/requirements.txt \
    && pip uninstall --yes --quiet uv

# By number, so that a host can see that it is not root.
USER 1000
WORKDIR /home/user/app
COPY --chown=1000:1000 . .

# Everything that is written goes below the user's cache; mount a volume there to keep downloads.
ENV HOME=/home/user \
    XDG_CACHE_HOME=/home/user/.cache \
    HF_HOME=/home/user/.cache/huggingface \
    TORCH_HOME=/home/user/.cache/torch \
    GRADIO_TEMP_DIR=/home/user/.cache/gradio \
    GRADIO_EXAMPLES_CACHE=/home/user/.cache/gradio-examples \
    GRADIO_ANALYTICS_ENABLED=False \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VISION_HUB_HOST=0.0.0.0 \
    PORT=7860
RUN mkdir -p "$HF_HOME" "$TORCH_HOME" "$GRADIO_TEMP_DIR" "$GRADIO_EXAMPLES_CACHE"

EXPOSE 7860
# The app listens before its models are warm; the first minutes belong to slow disks.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"VISION_HUB_PORT\") or os.environ[\"PORT\"]}/healthz', timeout=4)"]
# Python turns SIGINT into an orderly end; as process 1 it would ignore SIGTERM.
STOPSIGNAL SIGINT
CMD ["python", "app.py"]
