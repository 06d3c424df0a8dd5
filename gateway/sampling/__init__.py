"""Samples: masked copies of requests and replies, from the call's end to Parquet files, and their end.

`choice` says which calls are kept, `tensors` and `documents` read them, `mask` and `detect` take out what must not stay,
`queue` holds what is masked, `writer` and `parquet` write it to a `store`, `upkeep` deletes it again.
"""
