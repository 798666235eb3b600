"""The operations of S3 that FileFlux lacks: name, method, what the path names, selectors.

Requests for them get 501 NotImplemented with this name. When one is implemented its line moves to
`operations.py` and gains an action: an operation without one is allowed to nobody.
"""

from typing import Final

LACKING: Final = """
CreateBucketMetadataConfiguration                 POST    bucket  metadataConfiguration
CreateBucketMetadataTableConfiguration            POST    bucket  metadataTable
CreateSession                                     GET     bucket  session
DeleteBucketAnalyticsConfiguration                DELETE  bucket  analytics
DeleteBucketCors                                  DELETE  bucket  cors
DeleteBucketEncryption                            DELETE  bucket  encryption
DeleteBucketIntelligentTieringConfiguration       DELETE  bucket  intelligent-tiering
DeleteBucketInventoryConfiguration                DELETE  bucket  inventory
DeleteBucketLifecycle                             DELETE  bucket  lifecycle
DeleteBucketMetadataConfiguration                 DELETE  bucket  metadataConfiguration
DeleteBucketMetadataTableConfiguration            DELETE  bucket  metadataTable
DeleteBucketMetricsConfiguration                  DELETE  bucket  metrics
DeleteBucketOwnershipControls                     DELETE  bucket  ownershipControls
DeleteBucketPolicy                                DELETE  bucket  policy
DeleteBucketReplication                           DELETE  bucket  replication
DeleteBucketTagging                               DELETE  bucket  tagging
DeleteBucketWebsite                               DELETE  bucket  website
DeleteObjectAnnotation                            DELETE  object  annotation
DeleteObjectTagging                               DELETE  object  tagging
DeletePublicAccessBlock                           DELETE  bucket  publicAccessBlock
GetBucketAbac                                     GET     bucket  abac
GetBucketAccelerateConfiguration                  GET     bucket  accelerate
GetBucketAcl                                      GET     bucket  acl
GetBucketAnalyticsConfiguration                   GET     bucket  analytics id
GetBucketCors                                     GET     bucket  cors
GetBucketEncryption                               GET     bucket  encryption
GetBucketIntelligentTieringConfiguration          GET     bucket  intelligent-tiering id
GetBucketInventoryConfiguration                   GET     bucket  inventory id
GetBucketLifecycleConfiguration                   GET     bucket  lifecycle
GetBucketLogging                                  GET     bucket  logging
GetBucketMetadataConfiguration                    GET     bucket  metadataConfiguration
GetBucketMetadataTableConfiguration               GET     bucket  metadataTable
GetBucketMetricsConfiguration                     GET     bucket  metrics id
GetBucketOwnershipControls                        GET     bucket  ownershipControls
GetBucketPolicy                                   GET     bucket  policy
GetBucketPolicyStatus                             GET     bucket  policyStatus
GetBucketReplication                              GET     bucket  replication
GetBucketRequestPayment                           GET     bucket  requestPayment
GetBucketTagging                                  GET     bucket  tagging
GetBucketWebsite                                  GET     bucket  website
GetObjectAcl                                      GET     object  acl
GetObjectAnnotation                               GET     object  annotation annotationName
GetObjectLegalHold                                GET     object  legal-hold
GetObjectLockConfiguration                        GET     bucket  object-lock
GetObjectRetention                                GET     object  retention
GetObjectTagging                                  GET     object  tagging
GetObjectTorrent                                  GET     object  torrent
GetPublicAccessBlock                              GET     bucket  publicAccessBlock
ListBucketAnalyticsConfigurations                 GET     bucket  analytics
ListBucketIntelligentTieringConfigurations        GET     bucket  intelligent-tiering
ListBucketInventoryConfigurations                 GET     bucket  inventory
ListBucketMetricsConfigurations                   GET     bucket  metrics
ListObjectAnnotations                             GET     object  annotation
ListObjectVersions                                GET     bucket  versions
OptionsBucket                                     OPTIONS bucket
OptionsObject                                     OPTIONS object
OptionsService                                    OPTIONS service
PostObject                                        POST    bucket
PutBucketAbac                                     PUT     bucket  abac
PutBucketAccelerateConfiguration                  PUT     bucket  accelerate
PutBucketAcl                                      PUT     bucket  acl
PutBucketAnalyticsConfiguration                   PUT     bucket  analytics
PutBucketCors                                     PUT     bucket  cors
PutBucketEncryption                               PUT     bucket  encryption
PutBucketIntelligentTieringConfiguration          PUT     bucket  intelligent-tiering
PutBucketInventoryConfiguration                   PUT     bucket  inventory
PutBucketLifecycleConfiguration                   PUT     bucket  lifecycle
PutBucketLogging                                  PUT     bucket  logging
PutBucketMetricsConfiguration                     PUT     bucket  metrics
PutBucketOwnershipControls                        PUT     bucket  ownershipControls
PutBucketPolicy                                   PUT     bucket  policy
PutBucketReplication                              PUT     bucket  replication
PutBucketRequestPayment                           PUT     bucket  requestPayment
PutBucketTagging                                  PUT     bucket  tagging
PutBucketVersioning                               PUT     bucket  versioning
PutBucketWebsite                                  PUT     bucket  website
PutObjectAcl                                      PUT     object  acl
PutObjectAnnotation                               PUT     object  annotation
PutObjectLegalHold                                PUT     object  legal-hold
PutObjectLockConfiguration                        PUT     bucket  object-lock
PutObjectRetention                                PUT     object  retention
PutObjectTagging                                  PUT     object  tagging
PutPublicAccessBlock                              PUT     bucket  publicAccessBlock
RenameObject                                      PUT     object  renameObject
RestoreObject                                     POST    object  restore
SelectObjectContent                               POST    object  select
UpdateBucketMetadataAnnotationTableConfiguration  PUT     bucket  metadataAnnotationTable
UpdateBucketMetadataInventoryTableConfiguration   PUT     bucket  metadataInventoryTable
UpdateBucketMetadataJournalTableConfiguration     PUT     bucket  metadataJournalTable
UpdateObjectEncryption                            PUT     object  encryption
WriteGetObjectResponse                            POST    bucket  header:x-amz-request-route
"""
