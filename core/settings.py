"""Settings, read once from environment variables.

For example `VISION_HUB_PORT=8000 VISION_HUB_CHECKPOINTS=~/models make run`.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]
Backend = Literal["local", "ray"]
_NVIDIA = Path("/dev/nvidiactl")  # exists if a CUDA driver is loaded, on Linux

PUBLIC_RATE = 120  # somebody clicking as fast as possible makes about 100 a minute


class Settings(BaseSettings):
    """Everything that can be set without touching code.

    Sizes are megabytes (1e6 bytes). With `cache_mb` None, `core.serving.runtime` chooses the
    model cache's budget (half of the RAM, or 80 % of the GPU's memory). `rate` is requests and
    uploads per minute for one visitor, 0 for no limit; None depends on whether the app is public.
    `batch` is how many requests may share one forward pass; None is 8 on CUDA and 1 (no batching)
    elsewhere. `probe` is how many seconds Hugging Face has to answer before a download, `stall`
    how many may pass without a new byte before a download ends. `precision` "auto" is bf16 if that
    was measured to agree with fp32 (`core.start.agreement`), else fp32. `preload` names checkpoints
    to download at startup. `mcp` offers the endpoints as tools for language models.
    `backend` is where models run: here, or on the replicas of a Ray cluster (`scale/`).
    """

    # Explicit aliases: DEVICE or HOST mean other things to other programs.
    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    hub_port: int | None = Field(default=None, ge=0, le=65535, validation_alias="VISION_HUB_PORT")
    short_port: int | None = Field(default=None, ge=0, le=65535, validation_alias="PORT")
    hub_host: str | None = Field(default=None, validation_alias="VISION_HUB_HOST")
    short_host: str | None = Field(default=None, validation_alias="HOST")
    share: bool = Field(default=False, validation_alias="SHARE")
    auth: str | None = Field(default=None, validation_alias="AUTH", repr=False)  # "user:password"
    checkpoints: Path | None = Field(default=None, validation_alias="VISION_HUB_CHECKPOINTS")
    cache_mb: int | None = Field(default=None, ge=1, validation_alias="VISION_HUB_CACHE_MB")
    store_mb: int = Field(default=256, ge=1, validation_alias="VISION_HUB_STORE_MB")
    files_mb: int = Field(default=2000, ge=1, validation_alias="VISION_HUB_FILES_MB")
    rate: int | None = Field(default=None, ge=0, validation_alias="VISION_HUB_RATE")
    space_id: str | None = Field(default=None, validation_alias="SPACE_ID")  # set on a Space
    zero_gpu: bool = Field(default=False, validation_alias="SPACES_ZERO_GPU")  # set on ZeroGPU
    device: Device = Field(default="auto", validation_alias="VISION_HUB_DEVICE")
    precision: Precision = Field(default="auto", validation_alias="VISION_HUB_PRECISION")
    batch: int | None = Field(default=None, ge=1, le=64, validation_alias="VISION_HUB_BATCH")
    preload: str | None = Field(default=None, validation_alias="VISION_HUB_PRELOAD")
    backend: Backend = Field(default="local", validation_alias="VISION_HUB_BACKEND")
    mcp: bool = Field(default=False, validation_alias="VISION_HUB_MCP")
    offline: bool = Field(default=False, validation_alias="VISION_HUB_OFFLINE")
    hub_endpoint: str | None = Field(default=None, validation_alias="HF_ENDPOINT")
    hub_cache: Path | None = Field(default=None, validation_alias="HF_HUB_CACHE")
    probe: float = Field(default=10.0, gt=0, validation_alias="VISION_HUB_PROBE_SECONDS")
    stall: float = Field(default=45.0, gt=0, validation_alias="VISION_HUB_STALL_SECONDS")

    @field_validator("hub_port", mode="before")
    @classmethod
    def _no_link(cls, port: object) -> object:
        """Kubernetes and Docker describe a service `vision-hub` as VISION_HUB_PORT=tcp://…:7860."""
        return None if str(port).startswith("tcp://") else port

    @field_validator("checkpoints", "hub_cache")
    @classmethod
    def _expand_home(cls, path: Path | None) -> Path | None:
        return path.expanduser() if path else None

    @field_validator("auth")
    @classmethod
    def _name_and_password(cls, auth: str | None) -> str | None:
        if auth is not None and not all(auth.partition(":")):
            raise ValueError("AUTH must be name:password, like 'anna:secret'")
        return auth

    @property
    def port(self) -> int:
        """The port to serve on: `VISION_HUB_PORT`, else `PORT`, else Gradio's usual one; 0 picks a
        free one."""
        given = (self.hub_port, self.short_port, 7860)
        return next(port for port in given if port is not None)

    @property
    def address(self) -> str | None:
        """The address to serve on; None leaves it to Gradio (`GRADIO_SERVER_NAME`, else this
        machine only).

        `HOST` counts only if it is an address of this machine: conda's compilers, tcsh and others
        set it to something else.
        """
        if self.hub_host:
            return self.hub_host
        return self.short_host if self.short_host and _is_own_address(self.short_host) else None

    @property
    def preloaded(self) -> str:
        """What to download at startup, for `core.checkpoints.to_preload`: nothing, or on a Space
        what is recommended, unless `preload` says otherwise."""
        return self.preload if self.preload is not None else "recommended" * bool(self.space_id)

    @property
    def expects_gpu(self) -> bool:
        """Whether models will run on CUDA, as far as known before PyTorch is imported."""
        there = self.zero_gpu or _NVIDIA.exists()
        return self.device == "cuda" or (self.device == "auto" and there)

    @property
    def slots(self) -> int:
        """Concurrent short requests: eight, or two batches so that the next one can fill."""
        return max(8, 2 * (self.batch or (8 if self.expects_gpu else 1)))

    @property
    def long_slots(self) -> int:
        """Concurrent long jobs: two, so that one computes while the other writes its result; with
        two cores or fewer the second would only slow down short requests."""
        return 2 if (os.cpu_count() or 1) > 2 else 1

    @property
    def login(self) -> tuple[str, str] | None:
        """(name, password) of `auth`, as Gradio takes it."""
        if self.auth is None:
            return None
        name, _, password = self.auth.partition(":")
        return name, password

    @property
    def per_minute(self) -> int:
        """Requests and uploads per minute for one visitor; 0 for no limit."""
        if self.rate is not None:
            return self.rate
        return PUBLIC_RATE if self.share or self.space_id else 0


def _is_own_address(host: str) -> bool:
    """Whether a server of this machine can listen there: localhost or an IP address of a network
    interface. Names are not looked up: their addresses depend on the network."""
    if host == "localhost":
        return True
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((host, 0))
    except (ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process; `get_settings.cache_clear()` reads them again."""
    return Settings()
