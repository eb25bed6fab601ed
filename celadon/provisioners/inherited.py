"""What a replica inherits of the worker's environment: what programs need to run, and nothing that lets anybody in."""

from collections.abc import Mapping, Sequence
from typing import Final

from celadon.domain.language.secret_names import looks_secret

_NEVER: Final = ("CELADON_", "DATABASE_URL", "PG", "TEMPORAL_")
"""Addresses and credentials of Celadon's own parts; no setting hands them on."""

_NAMES: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
        *("GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"),
    },
)

_PREFIXES: Final = (
    *("LC_", "PYTHON", "OMP_", "MKL_", "OPENBLAS_", "GOMP_", "KMP_", "NUMEXPR_"),
    *("CUDA_", "NVIDIA_", "NCCL_", "ROCR_", "HIP_", "HSA_", "ROCM_"),
    *("TORCH", "PYTORCH_", "TRITON_", "XLA_", "JAX_", "TF_", "HF_", "TRANSFORMERS_", "TOKENIZERS_"),
    *("VLLM_", "SGLANG_", "RAY_", "BENTOML_"),
)
"""Settings of locales, Python, accelerators and model servers."""

_PROXIES: Final = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy"})


def inherited_environment(worker: Mapping[str, str], added: Sequence[str]) -> dict[str, str]:
    """Return the variables of the worker that a replica gets.

    Args:
        worker: the worker's environment.
        added: names that an operator adds; one that ends with ``*`` stands for all that begin so.

    """
    return {name: value for name, value in worker.items() if _is_inherited(name, value, added)}


def _is_inherited(name: str, value: str, added: Sequence[str]) -> bool:
    if name.startswith(_NEVER):
        return False
    if any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in added):
        return True
    if name.lower() in _PROXIES:
        return "@" not in value
    return (name in _NAMES or name.startswith(_PREFIXES)) and not looks_secret(name)
