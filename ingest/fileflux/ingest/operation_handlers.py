"""Which function answers which operation of the table."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fileflux.ingest import (
    buckets,
    copy_object,
    copy_part,
    delete_object,
    get_object,
    list_objects,
    multipart,
    notifications,
    respond_async,
)
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies

Handler = Callable[[Call, Dependencies], Awaitable[Answer]]

HANDLERS: Final[Mapping[str, Handler]] = {
    "ListBuckets": buckets.list_buckets,
    "CreateBucket": buckets.create_bucket,
    "HeadBucket": buckets.head_bucket,
    "DeleteBucket": buckets.delete_bucket,
    "GetBucketLocation": buckets.get_bucket_location,
    "GetBucketVersioning": buckets.get_bucket_versioning,
    "GetBucketNotificationConfiguration": notifications.get_configuration,
    "PutBucketNotificationConfiguration": notifications.put_configuration,
    "ListObjects": list_objects.list_objects,
    "ListObjectsV2": list_objects.list_objects_v2,
    "ListMultipartUploads": list_objects.list_multipart_uploads,
    "PutObject": respond_async.put_object,
    "GetObject": get_object.get_object,
    "HeadObject": get_object.head_object,
    "GetObjectAttributes": get_object.get_object_attributes,
    "DeleteObject": delete_object.delete_object,
    "DeleteObjects": delete_object.delete_objects,
    "CopyObject": copy_object.copy_object,
    "CreateMultipartUpload": multipart.create_multipart_upload,
    "UploadPart": multipart.upload_part,
    "UploadPartCopy": copy_part.upload_part_copy,
    "CompleteMultipartUpload": multipart.complete_multipart_upload,
    "AbortMultipartUpload": multipart.abort_multipart_upload,
    "ListParts": multipart.list_parts,
}
