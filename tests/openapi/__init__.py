"""The API's description held against the API: answers, examples, and schemathesis."""
