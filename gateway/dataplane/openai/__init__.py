"""The OpenAI transport of the inference plane: calls in OpenAI's words become calls of a model by its alias's adapter.

`requests` reads what is asked for, `calls` has it translated on its way through the pipeline (`text`, `embeddings`), and
what comes back is read (`events`, `generated`), cut where it must end (`ending`) and worded (`wording`, `errors`).
"""
