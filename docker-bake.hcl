# Every image of a release: `PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:… docker buildx bake`.
# A base image by its tag alone would be another one tomorrow, so it is refused here.

variable "PYTHON_IMAGE" {
  default = ""
  validation {
    condition     = can(regex("^[^@]+@sha256:[0-9a-f]{64}$", PYTHON_IMAGE))
    error_message = "Name the base image by its digest: PYTHON_IMAGE=NAME:TAG@sha256:..."
  }
}

variable "REGISTRY" {
  # With a slash at its end, or empty.
  default = ""
}

variable "VERSION" {
  default = "0.1.0"
}

variable "REVISION" {
  default = ""
}

group "default" {
  targets = ["service"]
}

target "service" {
  name = service
  matrix = {
    service = ["ingest", "placement", "metadata", "webhooks", "storage-node", "console"]
  }
  target    = service
  tags      = ["${REGISTRY}fileflux/${service}:${VERSION}"]
  platforms = ["linux/amd64", "linux/arm64"]
  args = {
    PYTHON_IMAGE = PYTHON_IMAGE
    VERSION      = VERSION
    REVISION     = REVISION
  }
  attest = ["type=provenance,mode=max", "type=sbom"]
}
