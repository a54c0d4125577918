"""Uses the generated client as a program of a user would: submit, list, look, read."""

import sys

from spotwise_client import AuthenticatedClient
from spotwise_client.api.jobs import cancel_job, get_job, list_jobs, read_logs, submit_jobs
from spotwise_client.api.system import get_info
from spotwise_client.models import DocumentSingle, JobDetail, ListJobsResponse, Problem
from spotwise_client.models import SubmitResponse

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
document = DocumentSingle.from_dict(
    {"name": "generated", "command": ["true"], "work": {"duration": "1h"}}
)
submitted = submit_jobs.sync(client=client, body=document, idempotency_key="generated")
assert isinstance(submitted, SubmitResponse), submitted
job = submitted.jobs[0].id
assert submitted.jobs[0].submitted.tzinfo is not None, "times are times"

jobs = list_jobs.sync(client=client, name="generated", page_size=5)
assert isinstance(jobs, ListJobsResponse) and [it.id for it in jobs.jobs] == [job], jobs
detail = get_job.sync(job, client=client)
assert isinstance(detail, JobDetail) and detail.job.state == "waiting", detail
assert detail.quote is None or detail.quote.p50_micros >= 0
assert read_logs.sync(job, client=client) == ""
assert isinstance(get_job.sync("j99999", client=client), Problem)
cancelled = cancel_job.sync(job, client=client)
assert cancelled.jobs[0].id == job
assert get_info.sync(client=client).version
