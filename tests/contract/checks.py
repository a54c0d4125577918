"""Valid requests may be refused, but only for what JSON Schema has no words for.

`positive_data_acceptance` looks at the status alone, and 400 is the answer to every
document that is not acceptable. This looks at the code of the problem as well.
"""

import re

import schemathesis

# What only several values together show, the time, or the jobs that are there.
BEYOND_A_SCHEMA = [
    ("array_size_mismatch", ""),
    ("conflicting_fields", "is given together with"),  # one of the two from the defaults
    ("deadline_in_the_past", ""),
    ("deadline_too_far", ""),
    ("dependency_cycle", ""),
    ("duplicate_dependency", ""),
    ("duplicate_gpu", ""),
    ("duplicate_key", ""),
    ("duplicate_path", ""),
    ("duplicate_name", ""),
    ("duplicate_variable", ""),
    ("document_too_large", ""),
    ("failed_dependency", ""),
    ("invalid_command", "is longer than"),
    ("invalid_page_token", ""),  # a token has a checksum
    ("invalid_value", "a duration from 1m to 366d"),
    ("invalid_value", "has an attempt that the job does not have"),
    ("invalid_value", "ask for the last lines, or from a byte on"),
    ("invalid_value", "name one attempt, or ask for all"),
    ("invalid_value", "name the attempt and the rank in whose output it counts"),
    ("job_ended", ""),
    ("out_of_range", "an array has 1 to"),
    ("out_of_range", "is not after since"),
    ("self_dependency", ""),
    ("too_many_jobs", ""),
    ("unknown_dependency", ""),
    ("unknown_job", ""),
    ("unknown_value", "not a time zone that this server knows"),
]
YEAR = 366 * 86_400
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


@schemathesis.check
def valid_requests_are_refused_for_good_reasons(ctx, response, case):
    """A schema-valid request gets 400 for nothing that the schema could have said."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if not positive or response.status_code != 400:
        return
    problem = response.json()
    code, detail = problem["code"], problem["detail"]
    if any(code == it and part in detail for it, part in BEYOND_A_SCHEMA):
        return
    value = named(case.body, problem["field"])
    if value is None:  # it came from the defaults
        value = named(case.body, re.sub(r"^jobs\[[0-9]+\]", "defaults", problem["field"]))
    # A number is taken as the text that it is written with, which has no pattern.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return
    if code in ("invalid_duration", "invalid_deadline") and is_too_long(value):
        return
    raise AssertionError(f"valid data was refused: {code} {problem['field']!r}: {detail}")


def named(value, field):
    """The part of a body that a problem's field names, such as `jobs[0].env.A`."""
    for name, index in re.findall(r"([^.\[\]]+)|\[([0-9]+)\]", field):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def is_too_long(text):
    """Whether the parts of a duration are more than a year together, or have many digits."""
    parts = re.findall(r"([0-9]+)([dhms])", text) if isinstance(text, str) else []
    long = any(len(number) > 9 for number, _ in parts)
    return long or sum(int(number) * UNITS[unit] for number, unit in parts) > YEAR
