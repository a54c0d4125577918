"""Looks into the object store of a test, beside the programs under test.

store.py URL prepare            a bucket `models`, and a role for workers; prints its ARN
store.py URL list               keys and sizes
store.py URL unfinished         keys of uploads that were not finished
store.py URL begin KEY          begins an upload and sends 5 MiB of it
store.py URL try KEY            what may be done with the keys in the environment: words
"""

import json
import os
import sys

import botocore.session
from botocore.exceptions import ClientError

BUCKET = "models"


def client(url, service):
    return botocore.session.get_session().create_client(
        service, region_name="us-east-1", endpoint_url=url
    )


def prepare(url):
    client(url, "s3").create_bucket(Bucket=BUCKET)
    iam = client(url, "iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    rights = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = lambda statement: json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=policy(trust))
    iam.put_role_policy(RoleName="worker", PolicyName="s3", PolicyDocument=policy(rights))
    print(role["Role"]["Arn"])


def pages(url):
    paginator = client(url, "s3").get_paginator("list_objects_v2")
    for page in paginator.paginate(Bucket=BUCKET):
        yield from page.get("Contents", [])


def attempt(name, call):
    try:
        call()
        print(name, "allowed")
    except ClientError as error:
        print(name, error.response["Error"]["Code"])


def main():
    url, command, *rest = sys.argv[1:]
    s3 = client(url, "s3")
    if command == "prepare":
        prepare(url)
    elif command == "list":
        for found in pages(url):
            print(found["Key"], found["Size"])
    elif command == "unfinished":
        for upload in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads") or []:
            print(upload["Key"])
    elif command == "begin":
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key=rest[0])["UploadId"]
        part = {"Key": rest[0], "UploadId": upload, "PartNumber": 1, "Body": bytes(5 << 20)}
        s3.upload_part(Bucket=BUCKET, **part)
    elif command == "try":
        key = {"Bucket": BUCKET, "Key": rest[0]}
        attempt("put", lambda: s3.put_object(**key, Body=b"x"))
        attempt("get", lambda: s3.get_object(**key))
        attempt("delete", lambda: s3.delete_object(**key))
        prefix = rest[0].rpartition("/")[0] + "/"
        attempt("list", lambda: s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix))
        attempt("all", lambda: s3.list_objects_v2(Bucket=BUCKET))
    else:
        sys.exit(f"{command}: see --help in the source ({os.path.basename(__file__)})")


if __name__ == "__main__":
    main()
