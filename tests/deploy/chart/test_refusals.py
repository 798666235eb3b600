"""What would start and then go wrong is refused by Helm, with a sentence that says what to do."""

import subprocess

import pytest
from tests.deploy.chart.matrix import CHART, FILES, lint, refusal, with_values
from tests.deploy.kube.rendered import rendered


@pytest.mark.parametrize("name", FILES)
def test_lint_finds_nothing_in_any_file_of_values(name: str) -> None:
    done = lint("--values", str(CHART / name))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("ingest.replicaz=3",), "replicaz"),
        (("ingestt.replicas=3",), "ingestt"),
        (("image.tag=latest",), "/image/tag"),
        (("ingest.image.tag=latest",), "/ingest/image/tag"),
        (("ingest.image.digest=sha256:abc",), "/ingest/image/digest"),
        (("ingest.settings.FILEFLUX_INGEST_CASHE_BYTES=1",), "FILEFLUX_INGEST_CASHE_BYTES"),
        (("ingest.settings.FILEFLUX_INGEST_PORT=1",), "FILEFLUX_INGEST_PORT"),
        (("ingest.settings.FILEFLUX_INGEST_CACHE_BYTES=-1",), "FILEFLUX_INGEST_CACHE_BYTES"),
        (("extraEnv[0].name=FILEFLUX_LANES",), "/extraEnv/0/name"),
        (("ingest.staging.mode=tape",), "/ingest/staging/mode"),
        (("ingest.staging.mode=s3",), "needs ingest.staging.s3.bucket"),
        (
            ("ingest.staging.mode=volume", "ingest.autoscaling.enabled=true"),
            "use ingest.staging.mode=s3, or switch autoscaling off",
        ),
        (("materializer.replicas=9",), "more materializers than lanes (8)"),
        (
            ("materializer.autoscaling.enabled=true", "materializer.autoscaling.maxReplicas=9"),
            "lower materializer.autoscaling.maxReplicas",
        ),
        (("materializer.autoscaling.minReplicas=5",), "minReplicas is above maxReplicas"),
        (("ingest.autoscaling.minReplicas=11",), "minReplicas is above maxReplicas"),
        (("archiver.enabled=true",), "archiver.enabled needs archive.url"),
        (
            ("archiver.enabled=true", "archive.url=s3://a/b", "archive.keepSeconds=1"),
            "set archiver.enabled=false",
        ),
        (("archive.url=file:///tmp",), "/archive/url"),
        (("secrets.provider=csi",), "needs secrets.csi.region"),
        (("storageNode.replicas=1",), "raise storageNode.replicas"),
        (("classes.all=STANDARD:2:3",), "waits for more replicas than it has"),
        (("classes.default=GOLD",), "GOLD is not in classes.all"),
        (("kafka.securityProtocol=TLS",), "/kafka/securityProtocol"),
        (("lanes=0",), "/lanes"),
        (("storageNode.terminationGracePeriodSeconds=30",), "terminationGracePeriodSeconds"),
        (("webhooks.allowedNetworks={everything}",), "/webhooks/allowedNetworks/0"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(values: tuple[str, ...], sentence: str) -> None:
    assert sentence in refusal(*values)


def test_one_storage_node_is_enough_for_a_class_that_waits_for_one() -> None:
    assert with_values("storageNode.replicas=1", "classes.default=SINGLE")


def test_old_clusters_are_refused() -> None:
    with pytest.raises(subprocess.CalledProcessError) as problem:
        rendered("fileflux", "values.yaml", "--kube-version", "1.29.0")
    assert "requires kubeVersion: >=1.30" in problem.value.stderr
