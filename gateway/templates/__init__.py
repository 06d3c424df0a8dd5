"""Chat templates: text of an alias's owner, run in Jinja's sandbox with a bound on everything that it could use up.

`restrict` says what a template may consist of, `sandbox` bounds what it does, `chat` checks and renders. The only
importer of Jinja beside the console.
"""

from gateway.templates.chat import ChatTemplates, template_problem

__all__ = ["ChatTemplates", "template_problem"]
