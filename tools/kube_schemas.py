"""Get the published definitions of Kubernetes and of the operators we use, and print their folder.

Kubernetes' OpenAPI and the operators' CustomResourceDefinitions come out of the Go modules that
publish them, pinned by digest. What has no module that can be had is written after its published
definition in tests/deploy/kube/definitions.
"""

import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.go_modules import CACHE_DIR, Module, ToolUnavailable, module_dir


@dataclass(frozen=True)
class Source:
    """Where a module keeps its definitions: patterns below its folder."""

    name: str
    module: Module
    patterns: tuple[str, ...]


SOURCES: Final = (
    Source(
        "kubernetes",
        Module("k8s.io/kubernetes", "v1.36.3", "qDQdoMiluAE2Eab6Fa52YV+WjiGz9mZFFoagEA6cI+o="),
        ("api/openapi-spec/v3/*_openapi.json",),
    ),
    Source(
        "istio",
        Module("istio.io/api", "v1.32.0", "37mJvg9I0biYZAEQF+MATs4FNeCpXEIVO3LFpVb6iNM="),
        ("kubernetes/customresourcedefinitions.gen.yaml",),
    ),
    Source(
        "cert-manager",
        Module(
            "github.com/cert-manager/cert-manager",
            "v1.21.2",
            "UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        ),
        ("deploy/crds/cert-manager.io_*.yaml",),
    ),
    Source(
        "prometheus-operator",
        Module(
            "github.com/prometheus-operator/prometheus-operator",
            "v0.85.0",
            "M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        ),
        ("example/prometheus-operator-crd/*.yaml",),
    ),
    Source(
        "karpenter",
        Module("sigs.k8s.io/karpenter", "v1.14.1", "GjqvOHLjl2+OXM0ti5VEZSQuvcitB0pETd8zdChXEtI="),
        ("pkg/apis/crds/karpenter.sh_node*.yaml",),
    ),
    Source(
        "karpenter-aws",
        Module(
            "github.com/aws/karpenter-provider-aws",
            "v1.14.1",
            "WGtIQTQcxpElYMdWfWuPwaF2+9muR+hYhPZsTtoY8Gs=",
        ),
        ("pkg/apis/crds/karpenter.k8s.aws_*.yaml",),
    ),
    Source(
        "argo-cd",
        Module(
            "github.com/argoproj/argo-cd/v3",
            "v3.5.7",
            "Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0=",
        ),
        ("manifests/crds/*-crd.yaml",),
    ),
)


def main() -> None:
    try:
        print(definitions_dir())
    except ToolUnavailable as error:
        sys.exit(f"kube_schemas: {error}")


def definitions_dir() -> Path:
    """Return a folder with a folder for each source. Raises ToolUnavailable."""
    pins = "\n".join(f"{one.module} {one.patterns}" for one in SOURCES)
    digest = hashlib.sha256(pins.encode()).hexdigest()[:16]
    folder = CACHE_DIR / "kube-definitions" / digest
    for source in SOURCES:
        if not (folder / source.name).exists():
            print(f"fetching {source.module.path}", file=sys.stderr, flush=True)
            _copy(source, folder)
    return folder


def _copy(source: Source, folder: Path) -> None:
    """Out of Go's cache, which somebody may clean."""
    draft = folder / f".{source.name}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    found = [
        path for pattern in source.patterns for path in module_dir(source.module).glob(pattern)
    ]
    if not found:
        raise ToolUnavailable(f"{source.module.path} has none of {', '.join(source.patterns)}")
    for path in found:
        shutil.copy(path, draft / path.name)
    draft.rename(folder / source.name)


if __name__ == "__main__":
    main()
