"""Buckets and listings through the whole application."""

import hashlib

import pytest
from tests.model.s3_caller import Caller
from tests.model.s3_world import S3World

LOCATION = (
    "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint>"
    "</CreateBucketConfiguration>"
)


async def test_a_bucket_is_made_found_listed_and_removed(alice: Caller) -> None:
    made = await alice("PUT", "/another")

    assert (made.status, made.headers["location"]) == (200, "/another")
    assert (await alice("HEAD", "/another")).headers["x-amz-bucket-region"] == "us-east-1"
    assert (await alice("GET", "/")).texts("Buckets/Bucket/Name") == ["another", "photos"]
    assert (await alice("DELETE", "/another")).status == 204
    assert (await alice("HEAD", "/another")).status == 404
    assert (await alice("DELETE", "/another")).code == "NoSuchBucket"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", ""),
        (LOCATION.format("us-east-1").encode(), ""),
        (LOCATION.format("mars").encode(), "IllegalLocationConstraintException"),
        (b"<nonsense", "MalformedXML"),
        (b"<Other/>", "MalformedXML"),
        (b"x" * 100_000, "MaxMessageLengthExceeded"),
    ],
)
async def test_a_bucket_is_made_where_it_can_be(body: bytes, code: str, alice: Caller) -> None:
    assert (await alice("PUT", "/another", {}, body)).code == code
    assert (await alice("HEAD", "/another")).status == (404 if code else 200)


@pytest.mark.parametrize(
    "name", ["ab", "A-Bucket", "under_score", "10.0.0.1", "x" * 64, "a..b", "-a-", "xn--abc"]
)
async def test_a_name_that_no_bucket_has_is_refused(name: str, alice: Caller) -> None:
    for method in ("PUT", "GET", "DELETE"):
        assert (await alice(method, f"/{name}")).code == "InvalidBucketName"


async def test_a_name_is_taken_once_for_everybody(alice: Caller, bob: Caller) -> None:
    assert (await alice("PUT", "/photos")).code == "BucketAlreadyOwnedByYou"
    assert (await bob("PUT", "/photos")).code == "BucketAlreadyExists"


async def test_a_storage_class_is_chosen_at_creation(s3_world: S3World, alice: Caller) -> None:
    await alice("PUT", "/cheap", {"x-fileflux-class": "single"})
    wrong = await alice("PUT", "/none", {"x-fileflux-class": "golden"})
    found = await s3_world.reader.find_buckets(["cheap"])

    assert found["cheap"].storage_class == "single"
    assert (wrong.code, "golden" in wrong.body.decode()) == ("InvalidArgument", True)


async def test_a_bucket_with_objects_stays_one_with_open_uploads_goes(alice: Caller) -> None:
    begun = await alice("POST", "/photos/big?uploads")
    upload_id = begun.xml().findtext("UploadId")
    assert (await alice("DELETE", "/photos")).code == "BucketNotEmpty"
    await alice("DELETE", "/photos/key")
    assert (await alice("DELETE", "/photos")).status == 204
    await alice("PUT", "/photos")
    put = await alice("PUT", f"/photos/big?partNumber=1&uploadId={upload_id}", {}, b"x")

    assert put.code == "NoSuchUpload"


async def test_where_a_bucket_is_and_that_it_has_no_versions(alice: Caller) -> None:
    location = await alice("GET", "/photos?location")
    versioning = await alice("GET", "/photos?versioning")

    assert (location.xml().tag, location.xml().text) == ("LocationConstraint", None)
    assert (versioning.xml().tag, len(versioning.xml())) == ("VersioningConfiguration", 0)


# --- listings -----------------------------------------------------------------------------------


@pytest.fixture
async def filled(alice: Caller) -> Caller:
    await alice("DELETE", "/photos/key")
    for key in ("a", "b/1", "b/2", "b/c/3", "d", "z/"):
        await alice("PUT", f"/photos/{key}", {}, key.encode())
    return alice


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_pages_give_everything_once(version: int, size: int, filled: Caller) -> None:
    keys, prefixes, token = [], [], ""
    base = f"/photos?delimiter=%2F&max-keys={size}" + ("&list-type=2" if version == 2 else "")
    name = {1: "marker", 2: "continuation-token"}[version]
    next_name = {1: "NextMarker", 2: "NextContinuationToken"}[version]
    for _ in range(20):
        page = await filled("GET", base + (f"&{name}={token}" if token else ""))
        keys += page.texts("Contents/Key")
        prefixes += page.texts("CommonPrefixes/Prefix")
        if page.xml().findtext("IsTruncated") == "false":
            break
        token = (page.xml().findtext(next_name) or "").replace("/", "%2F").replace("=", "%3D")
        token = token.replace("+", "%2B")

    assert (keys, prefixes) == (["a", "d"], ["b/", "z/"])


async def test_a_listing_says_what_an_object_is(filled: Caller) -> None:
    page = await filled("GET", "/photos?list-type=2&prefix=b%2F1&fetch-owner=true")

    assert page.texts("Contents/Size") == ["3"]
    assert page.texts("Contents/ETag") == [f'"{hashlib.md5(b"b/1").hexdigest()}"']
    assert page.texts("KeyCount") == ["1"]
    assert page.texts("Contents/Owner/ID") == [(b"a" * 16).hex()]


@pytest.mark.parametrize(
    "query",
    [
        "max-keys=-1",
        "max-keys=x",
        "list-type=3",
        "list-type=2&continuation-token=%21",
        "encoding-type=base64",
        "prefix=a&prefix=b",
    ],
)
async def test_a_listing_that_makes_no_sense_is_refused(query: str, filled: Caller) -> None:
    page = await filled("GET", f"/photos?{query}")

    assert (page.status, page.code) == (400, "InvalidArgument")
