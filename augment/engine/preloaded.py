"""Imported by the server of worker processes alone: what cells import, also within functions."""

# ruff: noqa: F401

import atexit
import gc
import os

import diffusers.schedulers.scheduling_ddim
import diffusers.schedulers.scheduling_ddpm
import diffusers.schedulers.scheduling_dpmsolver_multistep
import safetensors.torch

import augment.engine.cell_runner

gc.freeze()  # no collection in a worker looks through, and so copies, what was imported
# to take it apart at the end lasts a second, in which who reads the command's output would wait
atexit.register(os._exit, 0)
